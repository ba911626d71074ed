"""Several threads decode an Ogg Vorbis file into the samples, blocks and warnings of one thread."""

import contextlib
import io

import numpy as np
import pytest
import soundfile

from mt3_model.audio.file_views import FileWindow, open_file
from mt3_model.audio.sources.parallel_vorbis import vorbis_blocks
from mt3_model.audio.structure.vorbis_pages import find_page_ranges
from tests.unit.audio.encoded_recordings import (
    RATE,
    SONG_SECONDS,
    sine,
    write_song,
    write_sound,
)
from tests.unit.audio.in_process import read_blocks
from tests.unit.audio.ogg_files import (
    FLAGS,
    SEQUENCE,
    SERIAL,
    body_offset,
    join_pages,
    move_page,
    split_pages,
)

TOTAL = SONG_SECONDS * RATE
HEADERS = 2
"""Pages before those with sound."""


class MemoryFile(soundfile.SoundFile):
    """A file in memory, as `soundfile_source.py` opens it."""

    def read_block(self, frames: int) -> np.ndarray:
        return self.read(frames, dtype="float32", always_2d=True)


@pytest.fixture(scope="module")
def song(tmp_path_factory):
    return write_song(tmp_path_factory.mktemp("ogg") / "song", "OGG")


def decode(path, *, open_it=MemoryFile, threads: int = 3) -> list[np.ndarray]:
    with open_file(path) as file:
        blocks = vorbis_blocks(
            file.fileno(), open_it, past=TOTAL, block_samples=RATE, channels=2, threads=threads
        )
        with contextlib.closing(blocks):
            return [*blocks]


@pytest.mark.parametrize("threads", [1, 2, 5])
def test_threads_return_all_samples_of_one(song, threads):
    blocks = decode(song, threads=threads)
    assert [len(block) for block in blocks] == [RATE] * SONG_SECONDS
    expected, _ = soundfile.read(song, dtype="float32")
    np.testing.assert_array_equal(np.concatenate(blocks), expected)


@pytest.mark.parametrize(
    ("rate", "channels", "level"), [(96_000, 2, 0.1), (RATE, 6, 0.5), (16_000, 1, 1.0)]
)
def test_every_shape_is_read_as_with_one_thread(tmp_path, rate, channels, level):
    path = tmp_path / "song"
    samples = sine(1.1 * (1 << 20) / rate / channels, rate, channels)
    samples += np.random.default_rng(0).normal(0, 0.1, samples.shape).astype(np.float32)
    write_sound(path, samples, rate=rate, kind="OGG", subtype="VORBIS", level=level)
    assert read_blocks(path, 4) == read_blocks(path, 0)


@pytest.mark.parametrize(
    "borders", [[(0, 100), (100, TOTAL)], [(0, TOTAL // 2)], [(70_001, 70_002)]]
)
def test_pages_hold_their_samples(song, borders):
    expected, _ = soundfile.read(song, dtype="float32")
    content = song.read_bytes()
    with open_file(song) as file:
        ranges = [*find_page_ranges(FileWindow(file.fileno()), iter(borders))]
    for (begin, end), pages in zip(borders, ranges, strict=True):
        small = content[: pages.header_bytes] + content[pages.start : pages.stop]
        samples, _ = soundfile.read(io.BytesIO(small), dtype="float32")
        np.testing.assert_array_equal(samples[pages.skip :][: end - begin], expected[begin:end])


def test_a_stretch_takes_few_pages(song):
    pages = split_pages(song.read_bytes())
    with open_file(song) as file:
        (found,) = find_page_ranges(FileWindow(file.fileno()), iter([(300_000, 300_100)]))
    assert found.stop - found.start <= 4 * max(map(len, pages))


def cut(pages):
    return pages[: len(pages) // 2]


def move_positions(pages):
    return pages[:60] + [move_page(page, -128) for page in pages[60:]]


def move_one(pages):
    move_page(pages[60], 64)
    return pages


def trim(pages):
    move_page(pages[-1], -500)
    return pages


def lengthen(pages):
    move_page(pages[-1], 500_000)
    return pages


def end_early(pages):
    pages[60][FLAGS] = b"\4"
    return pages


def end_never(pages):
    pages[-1][FLAGS] = b"\0"
    return pages


def continue_nothing(pages):
    pages[60][FLAGS] = b"\1"
    return pages


def lose_mark(pages):
    pages[60][body_offset(pages[60])] ^= 1  # no packet with sound any more
    return pages


def change_mode(pages):
    pages[60][body_offset(pages[60])] ^= 2
    return pages


def blank(pages):
    begin = body_offset(pages[60])
    pages[60][begin:] = bytes(len(pages[60]) - begin)
    return pages


def without_position(pages):
    pages[60][6:14] = b"\xff" * 8
    return pages


def add_stream(pages):
    other = bytearray(pages[0])
    other[SERIAL] = b"abcd"
    return [pages[0], other, *pages[1:]]


CHANGES = {
    "nothing": lambda pages: pages,
    "a page is missing": lambda pages: pages[:60] + pages[61:],
    "a page is missing in silence": lambda pages: pages[:20] + pages[21:],
    "a page twice": lambda pages: pages[:61] + [bytearray(page) for page in pages[60:]],
    "two pages swapped": lambda pages: [*pages[:60], pages[61], pages[60], *pages[62:]],
    "the first page with sound is missing": lambda pages: pages[:HEADERS] + pages[HEADERS + 1 :],
} | {
    change.__name__.replace("_", " "): change
    for change in (
        cut, move_positions, move_one, trim, lengthen, end_early, end_never, continue_nothing,
        lose_mark, change_mode, blank, without_position, add_stream,
    )
}  # fmt: skip


@pytest.mark.parametrize("kind", CHANGES)
@pytest.mark.parametrize("is_renumbered", [False, True])
def test_a_damaged_recording_is_read_as_with_one_thread(tmp_path, song, kind, is_renumbered):
    pages = CHANGES[kind](split_pages(song.read_bytes()))
    if is_renumbered:  # as a program would that cuts and joins
        for number, page in enumerate(pages):
            page[SEQUENCE] = number.to_bytes(4, "little")
    path = tmp_path / "song"
    path.write_bytes(join_pages(pages))
    assert read_blocks(path, 3) == read_blocks(path, 0)


def test_nothing_is_yielded_from_a_page_with_another_position_on(tmp_path, song):
    pages = split_pages(song.read_bytes())
    path = tmp_path / "song"
    path.write_bytes(join_pages(move_one(pages)))
    expected, _ = soundfile.read(song, dtype="float32")
    found = np.concatenate(decode(path))
    (position,) = np.frombuffer(pages[59][6:14], np.int64)
    assert 0 < len(found) <= position
    np.testing.assert_array_equal(found, expected[: len(found)])


def test_nothing_is_yielded_from_a_stretch_that_does_not_decode_on(song):
    opened = []

    def open_it(file):
        opened.append(file)
        if len(opened) == 2:
            raise soundfile.SoundFileRuntimeError("no memory")
        return MemoryFile(file)

    assert len(decode(song, open_it=open_it, threads=1)) == 1
