"""Decode stretches of a recording in several threads, and get them in order."""

import collections
import itertools
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import Future
from concurrent.futures.thread import ThreadPoolExecutor
from typing import Protocol, TypeVar, runtime_checkable

import numpy as np
import soundfile

from mt3_model.audio.array_types import Float32

_STRETCH_VALUES = 1 << 19
"""Most values (samples times channels) of a stretch, unless a block has more: 6 s of CD sound. The
six stretches that four threads and their reader hold take 12 MiB, or 24 where a block has the most
values."""
_LEAST_VALUES = 1 << 20
"""Recordings with fewer values are decoded in 20 ms anyway."""
IRREGULARITIES = (soundfile.SoundFileError, OSError, TypeError, ValueError, EOFError, MemoryError)
"""Errors of a decoder that finds something unexpected."""
T = TypeVar("T")


@runtime_checkable  # for the test run, as that of `AudioSource`
class SeekableFile(Protocol):
    """An open recording: the part of `soundfile.SoundFile` that threads need."""

    def seek(self, frames: int) -> int:
        """Go to a sample; return its position."""
        ...

    def read_block(self, frames: int) -> Float32[np.ndarray, "_ C"]:
        """Return the next samples."""
        ...

    def close(self) -> None:
        """Free the decoder."""
        ...


def pays_in_parallel(values: int) -> bool:
    """Whether to start threads for a number of values (samples times channels)."""
    return values >= _LEAST_VALUES


def find_borders(
    first: int, past: int, block_samples: int, channels: int
) -> Iterator[tuple[int, int]]:
    """Yield the first sample of each stretch and the one after its last; the first are short."""
    most_blocks = max(1, _STRETCH_VALUES // (block_samples * channels))
    count = 1
    while first < past:
        end = min(past, first + count * block_samples)
        yield first, end
        first, count = end, min(2 * count, most_blocks)


def run_in_order(jobs: Iterator[Callable[[], T | None]], *, threads: int) -> Generator[T]:
    """Run jobs in threads, one more than can run at once; yield results up to the first None."""
    pool = ThreadPoolExecutor(threads)
    waiting: collections.deque[Future[T | None]] = collections.deque()

    def start(count: int) -> None:
        for job in itertools.islice(jobs, count):
            waiting.append(pool.submit(job))

    try:
        start(threads + 1)
        while waiting:
            result = waiting.popleft().result()
            if result is None:
                return
            start(1)
            yield result
    except RuntimeError:  # no further thread can be started
        return
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
