"""Samples of a recording -> its sound below 2 kHz, small enough to keep until the end.

The clean-up measures how strong the partials below a note are. That needs no sound above 2 kHz, so
a quarter of the samples is enough: 16-bit values at 4 kHz are 8 kB per second, 29 MB per hour.
"""

import functools

import numpy as np
from jaxtyping import Float32, Int16

FACTOR = 4
"""Input samples per sample kept."""
_TAPS = 16
_FULL_SCALE = 32767


def reduce_to_low_band(samples: Float32[np.ndarray, "N"]) -> Int16[np.ndarray, " M"]:
    """Low-pass one segment and keep every fourth sample.

    The filter is a Hamming-windowed sinc of 16 taps with its cutoff at an eighth of the sample
    rate. Each segment is filtered alone: the last 0.8 ms are filtered with zeros, which has no
    measurable effect.

    Args:
        samples: N a multiple of 4; [-1, 1], louder samples are clipped.

    Returns:
        N / 4 values of 16 bits.
    """
    rows = np.concatenate([samples, np.zeros(_TAPS - FACTOR, np.float32)]).reshape(-1, FACTOR)
    weighted = rows @ _weights()  # [N / 4 + 3, 4]: each row's share of the four outputs it touches
    count = len(samples) // FACTOR
    reduced = np.zeros(count, np.float32)
    for block in range(_TAPS // FACTOR):
        reduced += weighted[block : block + count, block]
    return np.rint(np.clip(reduced, -1.0, 1.0) * _FULL_SCALE).astype(np.int16)


@functools.cache
def _weights() -> Float32[np.ndarray, "4 4"]:
    """Return the taps as columns: column b holds taps 4 b to 4 b + 3; they sum to 1."""
    position = np.arange(_TAPS) - (_TAPS - 1) / 2
    taps = np.sinc(position / FACTOR) * np.hamming(_TAPS)
    return (taps / taps.sum()).astype(np.float32).reshape(-1, FACTOR).T


class LowBand:
    """The sound of one recording below 2 kHz, collected segment by segment."""

    def __init__(self, sample_rate: int) -> None:
        """Start empty.

        Args:
            sample_rate: rate of the samples before the reduction, Hz.
        """
        self.sample_rate = sample_rate / FACTOR
        self._pieces: list[Int16[np.ndarray, " M"]] = []

    def add_samples(self, samples: Float32[np.ndarray, "N"]) -> None:
        """Append the samples of the next segment."""
        self.add_reduced(reduce_to_low_band(samples))

    def add_reduced(self, piece: Int16[np.ndarray, " M"]) -> None:
        """Append the next segment, already reduced."""
        self._pieces.append(piece)

    def values(self) -> Int16[np.ndarray, " M"]:
        """Return all samples from the start."""
        return np.concatenate([np.zeros(0, np.int16), *self._pieces])
