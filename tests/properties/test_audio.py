"""Properties of reading: any bytes give blocks or an `AudioError`, in limited time."""

import contextlib
import functools
import itertools
import pathlib
import tempfile

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mt3_model.audio import isolation
from mt3_model.audio.recording import ReadingLimits
from mt3_model.audio.samples.resampling import Resampler
from mt3_model.errors import AudioError
from tests.examples import examples
from tests.unit.audio.encoded_recordings import KINDS, write_kind
from tests.unit.audio.in_process import open_reader

TARGET = 16_000
MARKS = [b"", b"RIFF\x00\x00\x00\x00WAVEfmt ", b"fLaC", b"OggS", b"ID3", b"\xff\xfb\x90\x64",
         b"\xff\xf1\x50\x80", b"\x00\x00\x00\x1cftypM4A ", b"\x1a\x45\xdf\xa3", b"caff", b"FORM",
         b"#EXTM3U\n", b"ffconcat version 1.0\n"]  # fmt: skip


@functools.cache
def recording_bytes(kind: str) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        return write_kind(pathlib.Path(folder) / "song", kind, 0.3, noise=0.1).read_bytes()


@st.composite
def mutated_recordings(draw: st.DrawFn) -> bytes:
    """Draw a recording with some bytes changed, perhaps cut, perhaps with a piece removed."""
    content = bytearray(recording_bytes(draw(st.sampled_from(KINDS))))
    # Headers matter more than samples, so half of the changes are there.
    place = st.one_of(st.integers(0, 255), st.integers(0, len(content) - 1))
    for at in draw(st.lists(place, max_size=8)):
        content[at % len(content)] = draw(st.integers(0, 255))
    if draw(st.booleans()):
        del content[draw(st.integers(0, len(content))) :]
    if draw(st.booleans()):
        at = draw(st.integers(0, len(content)))
        del content[at : at + draw(st.integers(0, 5_000))]
    return bytes(content)


def assert_blocks(blocks) -> None:
    """Check that blocks are finite mono float32 samples, or that an `AudioError` is raised."""
    with contextlib.suppress(AudioError):
        for block in blocks:
            assert block.dtype == np.float32
            assert block.ndim == 1
            assert np.isfinite(block).all()


def read_here(content: bytes) -> None:
    with tempfile.NamedTemporaryFile() as file:
        file.write(content)
        file.flush()
        limits = ReadingLimits(max_seconds=60.0)
        try:
            with open_reader(pathlib.Path(file.name), limits=limits) as reader:
                assert_blocks(reader.blocks())
        except AudioError:
            return


def read_in_child(content: bytes) -> None:
    with tempfile.NamedTemporaryFile() as file:
        file.write(content)
        file.flush()
        try:
            opened = isolation.open_recording(pathlib.Path(file.name), sample_rate=TARGET)
        except AudioError:
            return
        with opened:
            assert_blocks(opened.blocks())


@settings(max_examples=examples(60))
@given(st.sampled_from(MARKS), st.binary(max_size=4_096))
def test_any_bytes_give_blocks_or_an_audio_error(mark, content):
    read_here(mark + content)


@settings(max_examples=examples(60))
@given(mutated_recordings())
def test_damaged_recordings_give_blocks_or_an_audio_error(content):
    read_here(content)


@pytest.mark.slow
@settings(max_examples=examples(8))
@given(mutated_recordings())
def test_damaged_recordings_never_break_the_parent(content):
    read_in_child(content)


@settings(max_examples=examples(50))
@given(
    st.integers(4_000, 96_000),
    st.lists(st.integers(0, 3_000), max_size=6),
)
def test_resampling_does_not_depend_on_the_blocks(rate, lengths):
    samples = np.random.default_rng(0).standard_normal(sum(lengths)).astype(np.float32)
    whole = Resampler(source_rate=rate, target_rate=TARGET)
    expected = np.concatenate([whole.resample(samples), whole.finish()])
    pieces = Resampler(source_rate=rate, target_rate=TARGET)
    edges = np.cumsum([0, *lengths])
    found = [pieces.resample(samples[first:past]) for first, past in itertools.pairwise(edges)]
    np.testing.assert_array_equal(np.concatenate([*found, pieces.finish()]), expected)
    assert len(expected) == int(np.ceil(len(samples) * (TARGET / rate)))
