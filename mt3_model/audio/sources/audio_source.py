"""The protocol of the two decoding libraries: `soundfile_source.py` and `ffmpeg_source.py`.

A source is one open recording: its description, and its samples from a given one on, as ``[N, C]``
blocks at the recording's own rate. `part_source.py` chooses between the two.
"""

from collections.abc import Iterator
from typing import Protocol, runtime_checkable

import numpy as np

from mt3_model.audio.array_types import Float32
from mt3_model.audio.recording import RecordingInfo
from mt3_model.errors import AudioFormatError

MAX_BLOCK_VALUES = 1 << 20
"""Maximum number of values (samples times channels) of a block: 4 MiB of float32."""


def block_samples(info: RecordingInfo) -> int:
    """Return the samples per block: about a second, fewer where there are many channels."""
    return max(1, min(info.sample_rate, MAX_BLOCK_VALUES // info.channels))


class DecoderStoppedError(AudioFormatError):
    """A library stopped in the middle; ``sample`` is the first sample that it did not return."""

    def __init__(self, sample: int, message: str) -> None:
        super().__init__(message)
        self.sample = sample


@runtime_checkable  # for the test run, which checks arguments against their annotations
class AudioSource(Protocol):
    """One open recording."""

    info: RecordingInfo
    position: int
    """Samples read so far, those dropped or skipped by a seek included."""
    is_truncated: bool
    """Whether the sound was found to end too soon."""
    damaged_places: int
    """Number of places that could not be decoded."""
    first_damage: float | None
    """Seconds of the recording's clock at the first of them."""

    def blocks(self, first: int) -> Iterator[Float32[np.ndarray, "_ C"]]:
        """Yield the recording from sample ``first`` on; may be called once.

        Blocks may be empty while samples before ``first`` are dropped, so that the caller sees
        progress.

        Raises:
            DecoderStoppedError: the library stopped; the samples yielded so far are good.
        """
        ...

    def close(self) -> None:
        """Free the state of the library; the caller closes the file."""
        ...
