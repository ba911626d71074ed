"""The seam between the two decoding libraries and the road behind them.

A source is one open recording: what it is, and its samples from a given one on, as
``[N, C]`` blocks at the recording's own rate. `soundfile_source.py` and `ffmpeg_source.py` are
the two; `reading.py` chooses between them and does everything that is the same for both.
"""

from collections.abc import Iterator
from typing import Protocol, runtime_checkable

import numpy as np

from mt3_model.audio.array_types import Float32
from mt3_model.audio.recording import RecordingInfo
from mt3_model.errors import AudioFormatError

MAX_BLOCK_VALUES = 1 << 20
"""Most values (samples times channels) of a block: 4 MiB of float32."""


def block_samples(info: RecordingInfo) -> int:
    """Samples per block: about a second, fewer where channels are many."""
    return max(1, min(info.sample_rate, MAX_BLOCK_VALUES // info.channels))


class DecoderStoppedError(AudioFormatError):
    """A library gave up in the middle; ``sample`` is the first one it did not give."""

    def __init__(self, sample: int, message: str) -> None:
        super().__init__(message)
        self.sample = sample


@runtime_checkable  # for the test run, which checks arguments against their annotations
class Source(Protocol):
    """One open recording."""

    info: RecordingInfo
    position: int
    """Samples passed so far, those dropped or skipped by a seek included."""
    is_truncated: bool
    """Found while decoding: the sound stops before it should."""
    damaged_places: int
    """Found while decoding: places that could not be decoded."""
    first_damage: float | None
    """Seconds of the recording's clock at the first of them."""

    def blocks(self, first: int) -> Iterator[Float32[np.ndarray, "_ C"]]:
        """Yields the recording from sample ``first`` on, once.

        Blocks may be empty: a sign of life while samples before ``first`` are dropped.

        Raises:
            DecoderStoppedError: the library gives up; what was yielded is good.
        """
        ...

    def close(self) -> None:
        """Frees what the library holds; the file stays the caller's."""
        ...
