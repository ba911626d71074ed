"""Channels -> one channel of finite samples, with a record of what was wrong with them.

The mean of the channels is librosa's ``to_mono``, which the original uses. Damaged values are
replaced before it: one NaN would spread through the resampler's filter, the spectrogram and the
segment. Values over one are left as they are, as upstream leaves them: lossy codecs overshoot.
"""

import numpy as np

from mt3_model.audio.array_types import Float32
from mt3_model.audio.recording import AudioWarning

MAX_MAGNITUDE = 1e5
"""Above this a value is damage, not sound: well over the 32,768 of 16-bit samples that were
stored as float without scaling, far under what bits read as the wrong type give (up to 1e38)."""
LOUD_PEAK = 10.0
"""A peak of 20 dB over full scale: no codec's overshoot, so the samples' scale is wrong."""
SILENT_PEAK = 1e-4
"""A peak 80 dB under full scale, about three steps of 16 bits: dither at most."""


class Mixer:
    """Mixes one recording's blocks, in order."""

    def __init__(self, *, sample_rate: int, start: float) -> None:
        """Prepares for blocks at ``sample_rate`` Hz whose first sample is at ``start`` seconds."""
        self._sample_rate = sample_rate
        self._start = start
        self._samples = 0
        self._peak = 0.0
        self._damaged = 0
        self._first_damage = 0.0

    def mix(self, block: Float32[np.ndarray, "_ C"]) -> Float32[np.ndarray, " _"]:
        """Returns the mean of a block's channels, damaged values taken as zero."""
        with np.errstate(invalid="ignore"):
            is_good = np.abs(block) <= MAX_MAGNITUDE  # False for NaN
        if not is_good.all():
            block = self._repair(block, is_good)
        # One channel passes bit for bit; the mean over the last axis is to_mono's own sum.
        mono = block[:, 0] if block.shape[1] == 1 else np.mean(block, axis=1)
        self._samples += len(mono)
        if len(mono):
            self._peak = max(self._peak, float(np.max(np.abs(mono))))
        return mono

    def warnings(self) -> tuple[AudioWarning, ...]:
        """Returns what is to be said about the samples so far."""
        end = self._start + self._samples / self._sample_rate
        found: list[AudioWarning] = []
        if self._damaged:
            found.append(
                AudioWarning(
                    code="non_finite_samples",
                    message=f"{self._damaged:,} samples were not numbers, infinite or beyond "
                    f"{MAX_MAGNITUDE:g}, and were taken as silence",
                    start=self._first_damage,
                )
            )
        if self._samples and self._peak < SILENT_PEAK:
            found.append(
                AudioWarning(
                    code="silent_audio",
                    message=f"the sound never exceeds {SILENT_PEAK:g} of full scale (peak "
                    f"{self._peak:.1g}): expect no notes",
                    start=self._start,
                    end=end,
                )
            )
        if self._peak > LOUD_PEAK:
            found.append(
                AudioWarning(
                    code="over_range_audio",
                    message=f"samples reach {self._peak:,.0f} where full scale is 1: integers "
                    "stored as float without scaling? Expect wrong notes",
                    start=self._start,
                    end=end,
                )
            )
        return tuple(found)

    def _repair(
        self, block: Float32[np.ndarray, "_ C"], is_good: np.ndarray
    ) -> Float32[np.ndarray, "_ C"]:
        bad = ~is_good
        if not self._damaged:
            row = int(np.argmax(bad.any(axis=1)))
            self._first_damage = self._start + (self._samples + row) / self._sample_rate
        self._damaged += int(bad.sum())
        return np.where(is_good, block, np.float32(0))
