"""Channels -> their mean, or one of them where the mean would cancel the sound.

A recording with one channel's polarity reversed (L = -R) sounds on a loudspeaker and is silence
in the mean that MT3 was made for. So the sound is looked at in stretches of half a second,
counted from the recording's own 0: where the mean has far less energy than the channels would
have without anything in common, the loudest channel is taken instead. The level of the mean then
comes back, and no decision waits for the end of the recording, which keeps memory flat.

The thresholds are far from what recordings do on purpose. Two channels with nothing in common
have a ratio of 1, two equal ones 2, and a sixteenth needs a correlation below -0.94 over half a
second. Once in, a quarter leads out again, so that a passage at the border does not flicker, and
each change is a short cross-fade. In a range the stretches are the same ones, less what lies
outside of it; only a passage between the two thresholds may be decided otherwise there.
"""

import numpy as np

from mt3_model.audio.array_types import Float32

STRETCH_SECONDS = 0.5
_ENTER, _LEAVE = 1 / 16, 1 / 4
"""Energy of the mean, relative to that of the mean of independent channels as loud."""
_LEAST_LEVEL = 1e-3
"""Level of the loudest channel under which nothing is decided: codecs leave noise in pauses
whose channels may well be opposite."""
_KEPT_SHARE = 0.25
"""A channel is kept while it has this share of the loudest one's energy."""
_FADE_SECONDS = 0.01


class ChannelMixer:
    """Mixes the channels of one recording, in order."""

    def __init__(self, *, sample_rate: int, first_sample: int) -> None:
        """Prepare for blocks at ``sample_rate`` Hz whose first sample is ``first_sample``."""
        self._stretch = max(1, round(STRETCH_SECONDS * sample_rate))
        self._fade = max(1, round(_FADE_SECONDS * sample_rate))
        self._position = first_sample
        self._pending: list[Float32[np.ndarray, "_ C"]] = []
        self._held = 0
        self._channel: int | None = None
        self._has_begun = False
        self.canceled_samples = 0
        """Samples for which one channel was taken."""
        self.first_canceled = 0
        """Position of the first of them."""
        self.past_canceled = 0
        """Position after the last of them."""

    def mix(self, block: Float32[np.ndarray, "_ C"]) -> Float32[np.ndarray, " _"]:
        """Take the next block and return the samples that are decided; their number varies."""
        if block.shape[1] == 1:  # one channel passes bit for bit
            return np.concatenate([self.finish(), block[:, 0]]) if self._held else block[:, 0]
        ready: list[Float32[np.ndarray, " _"]] = []
        if self._pending and self._pending[0].shape[1] != block.shape[1]:
            ready.append(self.finish())
        while len(block):
            wanted = self._stretch - (self._position + self._held) % self._stretch
            self._pending.append(block[:wanted])
            self._held += len(block[:wanted])
            if len(block) >= wanted:
                ready.append(self.finish())
            block = block[wanted:]
        return np.concatenate(ready) if ready else np.empty(0, np.float32)

    def finish(self) -> Float32[np.ndarray, " _"]:
        """Return what is held back, decided by itself."""
        if not self._held:
            return np.empty(0, np.float32)
        stretch = np.concatenate(self._pending)
        self._pending, self._held = [], 0
        before = self._channel
        # The mean over the last axis is to_mono's own sum.
        mean = np.mean(stretch, axis=1)
        self._channel = self._choose(stretch, mean)
        mono = mean if self._channel is None else stretch[:, self._channel]
        if self._has_begun and before != self._channel:
            mono = self._cross_fade(_selected(stretch, mean, before), mono)
        self._has_begun = True
        if self._channel is not None:
            if not self.canceled_samples:
                self.first_canceled = self._position
            self.canceled_samples += len(mono)
            self.past_canceled = self._position + len(mono)
        self._position += len(mono)
        return mono

    def _choose(
        self, stretch: Float32[np.ndarray, "_ C"], mean: Float32[np.ndarray, " _"]
    ) -> int | None:
        """Choose a channel, or None for the mean."""
        energies = np.mean(np.square(stretch, dtype=np.float64), axis=0)
        loudest = int(np.argmax(energies))
        if energies[loudest] < _LEAST_LEVEL**2:
            return self._channel
        independent = float(np.sum(energies)) / stretch.shape[1] ** 2
        ratio = float(np.mean(np.square(mean, dtype=np.float64))) / independent
        if ratio >= (_ENTER if self._channel is None else _LEAVE):
            return None
        channel = self._channel
        if channel is None or channel >= len(energies):
            return loudest
        return channel if energies[channel] >= _KEPT_SHARE * energies[loudest] else loudest

    def _cross_fade(
        self, before: Float32[np.ndarray, " _"], after: Float32[np.ndarray, " _"]
    ) -> Float32[np.ndarray, " _"]:
        count = min(self._fade, len(after))
        weights = np.arange(1, count + 1, dtype=np.float32) / (count + 1)
        begin = before[:count] + weights * (after[:count] - before[:count])
        return np.concatenate([begin, after[count:]])


def _selected(
    stretch: Float32[np.ndarray, "_ C"], mean: Float32[np.ndarray, " _"], channel: int | None
) -> Float32[np.ndarray, " _"]:
    is_there = channel is not None and channel < stretch.shape[1]
    return stretch[:, channel] if is_there else mean
