"""Several threads decode a FLAC into the samples, blocks and warnings of one thread."""

import threading

import numpy as np
import pytest
import soundfile

from mt3_model.audio.file_views import FileWindow, open_copies, open_file
from mt3_model.audio.sources.parallel import pays_in_parallel
from mt3_model.audio.sources.parallel_flac import flac_blocks
from mt3_model.audio.structure.flac_frames import ends_with_last_frame, samples_in_order
from tests.unit.audio.encoded_recordings import (
    RATE,
    SONG_SECONDS,
    id3_tag,
    sine,
    write_song,
    write_sound,
)
from tests.unit.audio.in_process import read_blocks

FRAME = 4_096
"""Samples of libFLAC's frames."""
FLAC_TOTAL = slice(21, 26)
"""The 36 bits of the number of samples, after four bits of another field."""


class FakeFile:
    """A recording whose sample n is n; `damage` changes what a read returns."""

    def __init__(self, samples: int, damage=None) -> None:
        self.samples = np.arange(samples, dtype=np.float32)[:, np.newaxis]
        self.position = self.sought = 0
        self.damage = damage
        self.is_closed = False

    def seek(self, frames: int) -> int:
        self.position = self.sought = frames
        return frames

    def read_block(self, frames: int) -> np.ndarray:
        assert not self.is_closed
        block = self.samples[self.position : self.position + frames].copy()
        if self.damage is not None:
            block = self.damage(self, block)
        self.position += frames
        return block

    def close(self) -> None:
        self.is_closed = True


def decode(files: list[FakeFile], *, first: int = 0, past: int = 10_000):
    return flac_blocks(
        range(len(files)),
        lambda number: files[number],
        first=first,
        past=past,
        block_samples=100,
        channels=1,
    )


@pytest.fixture(scope="module")
def song(tmp_path_factory):
    return write_song(tmp_path_factory.mktemp("flac") / "song", "FLAC")


def frames_of(content: bytes) -> list[bytes]:
    """Return the header, and each frame, of a flac that libFLAC wrote."""
    starts, number = [], 0
    at = content.index(b"\xff\xf8", 42)
    head = content[at : at + 4]
    while at >= 0:
        if content[at + 4 :].startswith(chr(number).encode()):
            starts.append(at)
            number += 1
        at = content.find(head[:3], at + 1)
    return [content[a:b] for a, b in zip([0, *starts], [*starts, None], strict=True)]


@pytest.mark.parametrize("threads", [1, 2, 5])
@pytest.mark.parametrize("first", [0, 1, 9_950])
def test_blocks_have_the_borders_of_one_thread(threads, first):
    files = [FakeFile(10_000) for _ in range(threads)]
    blocks = list(decode(files, first=first))
    borders = [*range(first, 10_000, 100), 10_000]
    assert [block[0, 0] for block in blocks] == borders[:-1]
    np.testing.assert_array_equal(np.concatenate(blocks)[:, 0], np.arange(first, 10_000))
    assert all(file.is_closed for file in files)


def test_threads_decode_at_the_same_time():
    meeting = threading.Barrier(2, timeout=60)
    waits = {0, 100}  # the first reads of the first two stretches

    def meet(file, block):
        if file.position in waits and file.position == file.sought:
            waits.discard(file.position)
            meeting.wait()
        return block

    assert len(list(decode([FakeFile(10_000, meet), FakeFile(10_000, meet)]))) == 100


def raise_error(file, block):
    if file.position <= 5_000 < file.position + len(block):
        raise soundfile.SoundFileRuntimeError("damaged")
    return block


def return_less(file, block):
    return block[:-1] if file.position <= 5_000 < file.position + len(block) else block


def return_others(file, block):
    """Return other samples after a seek than without it, as where frames are numbered wrongly."""
    return block + 1 if file.sought >= 3_000 else block


@pytest.mark.parametrize("damage", [raise_error, return_less, return_others])
def test_nothing_is_yielded_from_the_first_irregular_stretch_on(damage):
    files = [FakeFile(10_000, damage) for _ in range(3)]
    found = np.concatenate(list(decode(files)))[:, 0]
    np.testing.assert_array_equal(found, np.arange(len(found)))
    assert 0 < len(found) <= 5_000
    assert all(file.is_closed for file in files)


def test_nothing_is_yielded_if_a_descriptor_cannot_be_opened():
    first = FakeFile(10_000)

    def open_it(number):
        if number:
            raise soundfile.SoundFileRuntimeError("no memory")
        return first

    blocks = flac_blocks([0, 1], open_it, first=0, past=10_000, block_samples=100, channels=1)
    assert list(blocks) == []
    assert first.is_closed


def test_closing_early_ends_the_threads():
    before = threading.active_count()
    files = [FakeFile(10_000) for _ in range(3)]
    blocks = decode(files)
    next(blocks)
    assert threading.active_count() > before
    blocks.close()
    assert threading.active_count() == before
    assert all(file.is_closed for file in files)


def test_short_recordings_start_no_threads():
    assert not pays_in_parallel(10 * RATE * 2)
    assert pays_in_parallel(SONG_SECONDS * RATE * 2)


@pytest.mark.parametrize(
    ("subtype", "rate", "channels"),
    [("PCM_S8", RATE, 2), ("PCM_24", 96_000, 2), ("PCM_16", RATE, 6), ("PCM_16", 16_000, 1)],
)
def test_every_shape_is_read_as_with_one_thread(tmp_path, subtype, rate, channels):
    seconds = 1.1 * (1 << 20) / rate / channels
    samples = sine(seconds, rate, channels)
    samples += np.random.default_rng(0).normal(0, 0.01, samples.shape).astype(np.float32)
    path = write_sound(tmp_path / "song", samples, rate=rate, kind="FLAC", subtype=subtype)
    assert read_blocks(path, 4) == read_blocks(path, 0)


def with_total(content: bytes, samples: int) -> bytes:
    changed = bytearray(content)
    bits = int.from_bytes(content[FLAC_TOTAL], "big") >> 36 << 36 | samples
    changed[FLAC_TOTAL] = bits.to_bytes(5, "big")
    return bytes(changed)


def damage_bytes(content: bytes, at: float) -> bytes:
    changed = bytearray(content)
    middle = int(at * len(content))
    changed[middle : middle + 3] = b"abc"
    return bytes(changed)


TOTAL = SONG_SECONDS * RATE
DAMAGES = {
    "cut": lambda content, _: content[: len(content) // 2],
    "cut in the last frame": lambda content, _: content[:-10],
    "damaged early": lambda content, _: damage_bytes(content, 0.1),
    "damaged in the middle": lambda content, _: damage_bytes(content, 0.5),
    "damaged late": lambda content, _: damage_bytes(content, 0.9),
    "damaged in the last frame": lambda content, _: damage_bytes(content, 0.9999),
    "a frame is missing": lambda _, frames: b"".join(frames[:70] + frames[71:]),
    "frames are missing": lambda _, frames: b"".join(frames[:70] + frames[90:]),
    "missing in silence": lambda _, frames: b"".join(frames[:40] + frames[42:]),
    "a frame twice": lambda _, frames: b"".join(frames[:70] + frames[69:]),
    "two frames swapped": lambda _, frames: b"".join(
        [*frames[:70], frames[71], frames[70], *frames[72:]]
    ),
    "a frame twice in silence": lambda _, frames: b"".join(frames[:31] + frames[30:]),
    "swapped in silence": lambda _, frames: b"".join(
        [*frames[:30], frames[31], frames[30], *frames[32:]]
    ),
    "frames twice near the end": lambda _, frames: b"".join(frames[:142] + frames[140:]),
    "two frames swapped near the end": lambda _, frames: b"".join(
        [*frames[:140], frames[141], frames[140], *frames[142:]]
    ),
    "the last frame also in silence": lambda _, frames: b"".join(
        [*frames[:30], frames[-1], *frames[30:]]
    ),
    "all frames twice": lambda content, frames: content + b"".join(frames[1:]),
    "bytes between frames": lambda _, frames: b"".join([*frames[:70], b"between", *frames[70:]]),
    "a sync byte between frames": lambda _, frames: b"".join([*frames[:70], b"\xff", *frames[70:]]),
    "the last frame is missing": lambda _, frames: b"".join(frames[:-1]),
    "the last frame twice": lambda _, frames: b"".join([*frames, frames[-1]]),
    "an unknown length": lambda content, _: with_total(content, 0),
    "uncounted samples": lambda content, _: with_total(content, TOTAL - 3 * RATE),
    "an uncounted sample": lambda content, _: with_total(content, TOTAL - 1),
    "counted too many": lambda content, _: with_total(content, TOTAL + 3 * RATE),
    "one too many": lambda content, _: with_total(content, TOTAL + 1),
    "a tag in front": lambda content, _: id3_tag(bytes(5_000)) + content,
    "a tag behind": lambda content, _: content + b"TAG" + bytes(125),
    "noise behind": lambda content, _: content + np.random.default_rng(0).bytes(80_000),
    "joined": lambda content, _: content + content,
    "joined to a cut one": lambda content, _: content[: len(content) // 2] + content,
}


@pytest.mark.parametrize("kind", DAMAGES)
@pytest.mark.parametrize("start", [0.0, 2.5])
def test_a_damaged_recording_is_read_as_with_one_thread(tmp_path, song, kind, start):
    content = song.read_bytes()
    path = tmp_path / "song"
    path.write_bytes(DAMAGES[kind](content, frames_of(content)))
    assert read_blocks(path, 3, start=start) == read_blocks(path, 0, start=start)


def test_only_a_file_that_ends_with_its_last_counted_frame_does(tmp_path, song):
    content = song.read_bytes()
    frames = frames_of(content)

    def ends(content: bytes, samples: int = TOTAL) -> bool:
        path = tmp_path / "song"
        path.write_bytes(content)
        with open_file(path) as file:
            return ends_with_last_frame(FileWindow(file.fileno()), samples)

    assert ends(content)
    assert ends(id3_tag(bytes(300)) + content + b"TAG" + bytes(125))
    assert not ends(content, TOTAL - FRAME)
    assert not ends(content, TOTAL + FRAME)
    assert not ends(b"".join(frames[:-1]))
    assert not ends(content + frames[-1])
    assert not ends(content + bytes(70_000))
    assert not ends(content[:40])
    assert not ends(b"fLaC")


@pytest.mark.parametrize("first", [0, 1, FRAME, TOTAL // 2])
def test_frames_are_in_order_up_to_one_that_is_not(tmp_path, song, first):
    content = song.read_bytes()
    frames = frames_of(content)
    path = tmp_path / "song"

    def last(content: bytes) -> int:
        path.write_bytes(content)
        with open_file(path) as file:
            window = FileWindow(file.fileno())
            # The decoder has read the first sample's frame, which follows the header, and 8 KiB.
            read = len(b"".join(frames[: 2 + first // FRAME])) + (8 << 10)
            found = samples_in_order(window, first=first, past=TOTAL, read=read)
            return max(found, default=first)

    assert last(content) == TOTAL
    assert last(b"".join(frames[:150] + frames[149:])) == 149 * FRAME
    marks = b"\xff\xf8" * 100_000  # the search does not take minutes where a file consists of them
    assert last(b"".join([*frames[:150], marks, *frames[150:]])) == 149 * FRAME


def test_copies_have_their_own_position_and_are_of_the_same_file(tmp_path):
    path = tmp_path / "song"
    path.write_bytes(b"abc")
    with open_file(path) as file:
        first, second = open_copies(path, file, 2)
        with first, second:
            assert (first.read(2), second.read(), file.read()) == (b"ab", b"abc", b"abc")
        path.rename(tmp_path / "other")
        assert open_copies(path, file, 2) == []
        path.write_bytes(b"abc")
        assert open_copies(path, file, 2) == []
