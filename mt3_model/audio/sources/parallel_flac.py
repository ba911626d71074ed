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

import contextlib
import dataclasses
import functools
import queue
from collections.abc import Callable, Generator, Sequence

import numpy as np

from mt3_model.audio.array_types import Float32
from mt3_model.audio.sources.parallel import (
    IRREGULARITIES,
    SeekableFile,
    find_borders,
    run_in_order,
)

_OVERLAP_SAMPLES = 1_024
"""Samples that two stretches share. They lie in one or two frames, all of which are decoded."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class _Stretch:
    """A stretch of a recording, decoded."""

    blocks: list[Float32[np.ndarray, "_ C"]]
    rest: Float32[np.ndarray, "_ C"]
    """The samples after it, as this decoder finds them."""


def flac_blocks(
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
    expected = np.empty((0, channels), np.float32)
    with contextlib.ExitStack() as stack:
        idle: queue.SimpleQueue[SeekableFile] = queue.SimpleQueue()
        try:
            for descriptor in descriptors:
                idle.put(stack.enter_context(contextlib.closing(open_file(descriptor))))
        except IRREGULARITIES:
            return
        jobs = (
            functools.partial(_decode, idle, begin, end, past, block_samples)
            for begin, end in find_borders(first, past, block_samples, channels)
        )
        stretches = run_in_order(jobs, threads=len(descriptors))
        stack.enter_context(contextlib.closing(stretches))  # ends before files are closed
        for stretch in stretches:
            if not _follows(stretch, expected):
                return
            expected = stretch.rest
            yield from stretch.blocks


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
    except IRREGULARITIES:
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
