"""Samples of a recording -> its level in five frequency bands every 8 ms, for the strokes of drums.

Drums sound up to 8 kHz, which the low band (`low_band.py`) does not keep. Five half-precision
levels every 8 ms are 1.25 kB per second, 4.5 MB per hour.
"""

import functools

import numpy as np
from jaxtyping import Float16, Float32

HOP = 128
"""Samples between levels: 8 ms at 16 kHz."""
BAND_EDGES_HZ = (0.0, 150.0, 500.0, 2_000.0, 5_000.0, 8_000.0)
"""Bass drum; body of toms and snares; their attack; snare wires and hats; hats and cymbals."""
_WINDOW = 256
_FLOOR = 1e-10
"""100 dB below full scale."""


class BandLevels:
    """The levels of one recording, collected segment by segment."""

    def __init__(self, sample_rate: int) -> None:
        """Start empty.

        Args:
            sample_rate: rate of the samples, Hz.
        """
        self.levels_per_second = sample_rate / HOP
        self._sample_rate = sample_rate
        self._pieces: list[Float16[np.ndarray, "T 5"]] = []

    def add_samples(self, samples: Float32[np.ndarray, "N"]) -> None:
        """Append the samples of the next segment; N must be a multiple of `HOP`."""
        if not len(samples):
            return
        padded = np.concatenate([samples, np.zeros(_WINDOW - HOP, np.float32)])
        windows = np.lib.stride_tricks.sliding_window_view(padded, _WINDOW)[::HOP]
        spectra = np.fft.rfft(windows * _hann(), axis=1)
        powers = spectra.real**2 + spectra.imag**2
        edges = np.rint(np.array(BAND_EDGES_HZ) * _WINDOW / self._sample_rate).astype(int)
        bands = np.add.reduceat(powers, edges[:-1], axis=1) / _WINDOW**2
        self._pieces.append((10.0 * np.log10(bands + _FLOOR)).astype(np.float16))

    def values(self) -> Float16[np.ndarray, "T 5"]:
        """Return the levels from the start, in dB; level t is that of the 16 ms from t · 8 ms."""
        return np.concatenate([np.zeros((0, len(BAND_EDGES_HZ) - 1), np.float16), *self._pieces])


@functools.cache
def _hann() -> Float32[np.ndarray, " W"]:
    return np.hanning(_WINDOW).astype(np.float32)
