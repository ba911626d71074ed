"""A recording that several threads decode is read as with one, in this process and another."""

import threading

import pytest

from mt3_model.audio import isolation
from mt3_model.audio.recording import ReadingLimits
from tests.unit.audio.encoded_recordings import write_song
from tests.unit.audio.in_process import open_reader, read_blocks


@pytest.fixture(scope="module", params=["FLAC", "OGG"])
def song(request, tmp_path_factory):
    return write_song(tmp_path_factory.mktemp("songs") / request.param, request.param)


@pytest.mark.parametrize(
    "time_range",
    [
        {}, {"start": 1.2345}, {"end": 6.0}, {"start": 0.0, "end": 90.0},
        {"start": 0.3, "end": 90.0}, {"start": 14.999},
    ],
)  # fmt: skip
def test_a_recording_is_read_as_with_one_thread(song, time_range):
    assert read_blocks(song, 3, **time_range) == read_blocks(song, 0, **time_range)


def test_a_reader_may_be_closed_while_its_threads_decode(song):
    before = threading.active_count()
    with open_reader(song, copies=3) as reader:
        blocks = reader.blocks()
        next(blocks)
    assert threading.active_count() == before


@pytest.mark.parametrize("limits", [ReadingLimits(), ReadingLimits(max_memory_bytes=1 << 29)])
def test_the_decoding_process_returns_the_same(song, limits):
    # Large enough for copies of its descriptor.
    assert song.stat().st_size > {"FLAC": 1 << 20, "OGG": 256 << 10}[song.name]
    expected, (_, warnings) = read_blocks(song, 0)
    with isolation.open_recording(song, sample_rate=16_000, limits=limits) as recording:
        found = [block.tobytes() for block in recording.blocks()]
    assert b"".join(found) == b"".join(expected)
    assert recording.warnings == warnings
