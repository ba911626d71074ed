"""Mix channels to one channel of finite samples, and collect warnings about them.

The mean of the channels is librosa's ``to_mono``, which the original uses. Where they cancel each
other, one of them is used (`channel_mixing.py`). Damaged values are replaced before mixing: one NaN
would spread through the resampler's filter, the spectrogram and the segment. Values above 1 are
left unchanged, as in the original: lossy codecs overshoot.
"""

from collections.abc import Iterator

import numpy as np

from mt3_model.audio.array_types import Float32
from mt3_model.audio.recording import AudioWarning
from mt3_model.audio.samples.channel_mixing import ChannelMixer
from mt3_model.audio.samples.clipping import CLIPPED_SHARE, ClippingDetector

MAX_MAGNITUDE = 1e5
"""A larger value is damage, not sound. The bound is well above the 32,768 of 16-bit samples stored
as float without scaling, and far below values of bits read as the wrong type (up to 1e38)."""
LOUD_PEAK = 10.0
"""A peak of 20 dB over full scale: no codec's overshoot, so the samples' scale is wrong."""
QUIET_PEAK = 1e-2
"""A peak 40 dB under full scale: far below every common mastering and recording level."""
SILENT_PEAK = 1e-4
"""A peak 80 dB under full scale, about three steps of 16 bits: dither at most."""


class Mixer:
    """Mixes the blocks of one recording, in order."""

    def __init__(
        self, *, sample_rate: int, start: float, other_tracks: tuple[str, ...] = ()
    ) -> None:
        """Prepare for the blocks of one recording.

        Args:
            sample_rate: sample rate of the blocks in Hz.
            start: seconds of the recording's clock at the first sample.
            other_tracks: labels of the other audio tracks, for the warning of a silent track.
        """
        self._other_tracks = other_tracks
        self._sample_rate = sample_rate
        self._start = start
        self._samples = 0
        self._peak = 0.0
        self._damaged = 0
        self._first_damage = 0.0
        self._clipping = ClippingDetector()
        self._channels = ChannelMixer(
            sample_rate=sample_rate, first_sample=round(start * sample_rate)
        )

    def mix(self, block: Float32[np.ndarray, "_ C"]) -> Float32[np.ndarray, " _"]:
        """Mix the next block, damaged values as zero; return the mono samples ready so far."""
        largest = _largest(block) if len(block) else 0.0
        if not largest <= MAX_MAGNITUDE:  # also for NaN
            block = self._repair(block)
            largest = _largest(block)
        self._clipping.add(block, largest)
        self._samples += len(block)
        return self._track_peak(self._channels.mix(block))

    def finish(self) -> Float32[np.ndarray, " _"]:
        """Return the remaining mono samples; `mix` may not be called afterwards."""
        return self._track_peak(self._channels.finish())

    def warnings(self) -> tuple[AudioWarning, ...]:
        """Return the warnings about the samples so far."""
        return (*self._damage_warnings(), *self._level_warnings())

    def _damage_warnings(self) -> Iterator[AudioWarning]:
        """Yield the warnings about samples that were replaced."""
        if self._damaged:
            yield AudioWarning(
                code="non_finite_samples",
                message=f"{self._damaged:,} samples were not numbers, infinite or beyond "
                f"{MAX_MAGNITUDE:g}, and were replaced by silence",
                start=self._first_damage,
            )
        if self._channels.canceled_samples:
            seconds = self._channels.canceled_samples / self._sample_rate
            yield AudioWarning(
                code="channels_cancel",
                message=f"the channels cancel each other during {seconds:.1f} s (one of them "
                "has its polarity reversed?); one channel was used there, not their mean",
                start=self._channels.first_canceled / self._sample_rate,
                end=self._channels.past_canceled / self._sample_rate,
            )

    def _level_warnings(self) -> Iterator[AudioWarning]:
        """Yield the warnings about a level that is too low or too high."""
        end = self._start + self._samples / self._sample_rate
        if self._samples and self._peak < SILENT_PEAK:
            yield AudioWarning(
                code="silent_audio",
                message=f"the sound never exceeds {SILENT_PEAK:g} of full scale (peak "
                f"{self._peak:.1g}): expect no notes" + self._other_tracks_hint(),
                start=self._start,
                end=end,
            )
        if SILENT_PEAK <= self._peak < QUIET_PEAK:
            yield AudioWarning(
                code="quiet_audio",
                message=f"the sound never exceeds {QUIET_PEAK:g} of full scale (peak "
                f"{self._peak:.1g}); if notes are missing, make the recording louder",
                start=self._start,
                end=end,
            )
        if self._clipping.share > CLIPPED_SHARE and self._peak <= LOUD_PEAK:
            yield AudioWarning(
                code="clipped_audio",
                message=f"{self._clipping.share:.1%} of the samples are stuck at full scale: "
                "the recording was too loud for its format and is distorted; expect some wrong "
                "notes",
                start=self._start + self._clipping.first / self._sample_rate,
                end=self._start + self._clipping.past / self._sample_rate,
            )
        if self._peak > LOUD_PEAK:
            yield AudioWarning(
                code="over_range_audio",
                message=f"samples reach {self._peak:,.0f}, but full scale is 1: were integers "
                "stored as float without scaling? Expect wrong notes",
                start=self._start,
                end=end,
            )

    def _other_tracks_hint(self) -> str:
        if not self._other_tracks:
            return ""
        tracks = ", ".join(self._other_tracks)
        return f". The recording has other audio tracks: {tracks}; choose one with audio_track"

    def _track_peak(self, mono: Float32[np.ndarray, " _"]) -> Float32[np.ndarray, " _"]:
        if len(mono):
            self._peak = max(self._peak, _largest(mono))
        return mono

    def _repair(self, block: Float32[np.ndarray, "_ C"]) -> Float32[np.ndarray, "_ C"]:
        with np.errstate(invalid="ignore"):
            bad = ~(np.abs(block) <= MAX_MAGNITUDE)  # True for NaN
        if not self._damaged:
            row = int(np.argmax(bad.any(axis=1)))
            self._first_damage = self._start + (self._samples + row) / self._sample_rate
        self._damaged += int(bad.sum())
        return np.where(bad, np.float32(0), block)


def _largest(samples: Float32[np.ndarray, "..."]) -> float:
    """Return the largest magnitude; NaN if there is one."""
    return max(float(np.max(samples)), -float(np.min(samples)))
