"""Decode a FLAC in several threads, with the samples and blocks of one.

The frames of a FLAC do not depend on each other, so several decoders can each decode a stretch of
a few seconds. A seek finds a sample by the numbers in the frames' headers, while reading from the
beginning counts samples, and the two differ in a damaged file. So each stretch is decoded a little
beyond its end, and must continue with exactly the first samples of the next one. At the first
irregularity, whatever its kind, nothing more is yielded: the caller then reads from the beginning,
in one thread, and finds the same damage as if this module did not exist. The caller also has to
check that the frames are in order: silence continues with silence wherever it comes from.

Each thread needs a descriptor with a position of its own, since libsndfile reads through it. A
`FileSlice` would do, but its reads need the interpreter lock: decoding took 20 % more processor
time, and with descriptors 7 %.
"""

import collections
import contextlib
import dataclasses
import itertools
import queue
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import Future
from concurrent.futures.thread import ThreadPoolExecutor
from typing import Protocol, runtime_checkable

import numpy as np
import soundfile

from mt3_model.audio.array_types import Float32

_STRETCH_VALUES = 1 << 19
"""Most values (samples times channels) of a stretch, unless a block has more: 6 s of CD sound. The
six stretches that four threads and their reader hold take 12 MiB, or 24 where a block has the most
values."""
_LEAST_VALUES = 1 << 20
"""Recordings with fewer values are decoded in 20 ms anyway."""
_OVERLAP_SAMPLES = 1_024
"""Samples that two stretches share. They lie in one or two frames, all of which are decoded."""
_IRREGULARITIES = (soundfile.SoundFileError, OSError, TypeError, ValueError, EOFError, MemoryError)


@runtime_checkable  # for the test run, as that of `AudioSource`
class SeekableFile(Protocol):
    """An open recording: the part of `soundfile.SoundFile` that is needed here."""

    def seek(self, frames: int) -> int:
        """Go to a sample; return its position."""
        ...

    def read_block(self, frames: int) -> Float32[np.ndarray, "_ C"]:
        """Return the next samples."""
        ...

    def close(self) -> None:
        """Free the decoder."""
        ...


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class _Stretch:
    """A stretch of a recording, decoded."""

    blocks: list[Float32[np.ndarray, "_ C"]]
    rest: Float32[np.ndarray, "_ C"]
    """The samples after it, as this decoder finds them."""


def pays_in_parallel(values: int) -> bool:
    """Whether to start threads for a number of values (samples times channels)."""
    return values >= _LEAST_VALUES


def blocks_in_parallel(
    descriptors: Sequence[int],
    open_file: Callable[[int], SeekableFile],
    *,
    first: int,
    past: int,
    block_samples: int,
    channels: int,
) -> Generator[Float32[np.ndarray, "_ C"]]:
    """Yield the samples ``[first, past)`` in blocks, up to the first irregularity.

    Args:
        descriptors: the recording, opened once for each thread.
        open_file: opens a decoder of a descriptor.
        first: the first sample.
        past: the sample after the last one, by the header.
        block_samples: samples of each block but the last.
        channels: number of channels.
    """
    borders = _borders(first, past, block_samples, channels)
    with contextlib.ExitStack() as stack:
        idle: queue.SimpleQueue[SeekableFile] = queue.SimpleQueue()
        try:
            for descriptor in descriptors:
                idle.put(stack.enter_context(contextlib.closing(open_file(descriptor))))
        except _IRREGULARITIES:
            return
        pool = ThreadPoolExecutor(len(descriptors))
        stack.callback(pool.shutdown, wait=True, cancel_futures=True)  # before files are closed
        waiting: collections.deque[Future[_Stretch | None]] = collections.deque()

        def start(count: int) -> None:
            for begin, end in itertools.islice(borders, count):
                waiting.append(pool.submit(_decode, idle, begin, end, past, block_samples))

        expected = np.empty((0, channels), np.float32)
        try:
            start(len(descriptors) + 1)
            while waiting:
                stretch = waiting.popleft().result()
                if stretch is None or not _follows(stretch, expected):
                    return
                start(1)
                expected = stretch.rest
                yield from stretch.blocks
        except RuntimeError:  # no further thread can be started
            return


def _borders(first: int, past: int, block_samples: int, channels: int) -> Iterator[tuple[int, int]]:
    """Yield the first sample of each stretch and the one after its last; the first are short."""
    most_blocks = max(1, _STRETCH_VALUES // (block_samples * channels))
    count = 1
    while first < past:
        end = min(past, first + count * block_samples)
        yield first, end
        first, count = end, min(2 * count, most_blocks)


def _decode(
    idle: "queue.SimpleQueue[SeekableFile]", begin: int, end: int, past: int, block_samples: int
) -> _Stretch | None:
    """Decode the samples ``[begin, end)``; None if anything is irregular."""
    file = idle.get()
    try:
        if file.seek(begin) != begin:
            return None
        borders = range(begin, end, block_samples)
        blocks = [_read(file, min(block_samples, end - at)) for at in borders]
        rest = _read(file, min(_OVERLAP_SAMPLES, block_samples, past - end))
    except _IRREGULARITIES:
        return None
    finally:
        idle.put(file)
    return _Stretch(blocks=blocks, rest=rest)


def _read(file: SeekableFile, count: int) -> Float32[np.ndarray, "_ C"]:
    """Return the next samples.

    Raises:
        EOFError: there are fewer.
    """
    found = file.read_block(count)
    if len(found) != count:
        raise EOFError
    return found


def _follows(stretch: _Stretch, expected: Float32[np.ndarray, "_ C"]) -> bool:
    """Whether a stretch begins with the samples that the one before found after its end."""
    return stretch.blocks[0][: len(expected)].tobytes() == expected.tobytes()
