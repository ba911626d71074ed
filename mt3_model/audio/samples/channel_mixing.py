"""Mix channels to their mean, or use one of them where the channels cancel each other.

A recording with reversed polarity in one channel (L = -R) can be heard on loudspeakers, but the
mean of its channels, which MT3 expects, is silence. The sound is therefore examined in stretches of
half a second, counted from time 0 of the recording: where the mean has far less energy than the
mean of independent channels would have, the loudest channel is used instead. No decision needs the
rest of the recording, so memory stays flat.

The thresholds are far from intended effects. The ratio of the two energies is 1 for two independent
channels, 2 for two equal ones; 1/16 needs a correlation below -0.94 over half a second. After the
first such stretch, only a ratio of 1/4 or more returns to the mean, so that the choice does not
flicker; each change is a short cross-fade. A requested range has the same stretches, less what lies
outside of it, so only a passage between the two thresholds may be mixed differently there.
"""

import numpy as np

from mt3_model.audio.array_types import Float32

STRETCH_SECONDS = 0.5
_ENTER, _LEAVE = 1 / 16, 1 / 4
"""Energy of the mean, relative to that of the mean of equally loud independent channels."""
_LEAST_LEVEL = 1e-3
"""Level of the loudest channel below which the choice does not change: in pauses, the noise of
codecs may have opposite channels."""
_KEPT_SHARE = 0.25
"""A chosen channel is kept while it has this share of the energy of the loudest one."""
_CLEARLY = 2.0
"""A ratio above this multiple of `_ENTER` needs no exact sums."""
_MOST_SQUARES = 1 << 21
"""Number of values up to which sums in float32 are exact enough for `_CLEARLY`."""
_FADE_SECONDS = 0.01
_PAIRWISE_VALUES = 8
"""From this number of values on, NumPy adds pairs. Source: numpy, loops_utils.h.src,
``pairwise_sum``."""


class ChannelMixer:
    """Mixes the channels of one recording, in order."""

    def __init__(self, *, sample_rate: int, first_sample: int) -> None:
        """Prepare for the blocks of one recording.

        Args:
            sample_rate: sample rate of the blocks in Hz.
            first_sample: position of the first sample in the recording.
        """
        self._stretch = max(1, round(STRETCH_SECONDS * sample_rate))
        self._fade = max(1, round(_FADE_SECONDS * sample_rate))
        self._position = first_sample
        self._pending: list[Float32[np.ndarray, "_ C"]] = []
        self._held = 0
        self._channel: int | None = None
        self._has_started = False
        self.canceled_samples = 0
        """Number of samples for which one channel was used."""
        self.first_canceled = 0
        """Position of the first of them in the recording."""
        self.past_canceled = 0
        """Position after the last of them."""

    def mix(self, block: Float32[np.ndarray, "_ C"]) -> Float32[np.ndarray, " _"]:
        """Mix the next block; return the samples ready so far, whose number varies."""
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
        if len(ready) == 1:
            return ready[0]
        return np.concatenate(ready) if ready else np.empty(0, np.float32)

    def finish(self) -> Float32[np.ndarray, " _"]:
        """Mix and return the samples of an incomplete stretch."""
        if not self._held:
            return np.empty(0, np.float32)
        stretch = self._pending[0] if len(self._pending) == 1 else np.concatenate(self._pending)
        self._pending, self._held = [], 0
        before = self._channel
        mean = _mean(stretch)
        self._channel = self._choose(stretch, mean)
        mono = mean if self._channel is None else stretch[:, self._channel]
        if self._has_started and before != self._channel:
            mono = self._cross_fade(_selected(stretch, mean, before), mono)
        self._has_started = True
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
        if self._channel is None and _clearly_does_not_cancel(stretch, mean):
            return None
        energies = [_energy(channel) for channel in stretch.T]
        loudest = int(np.argmax(energies))
        if energies[loudest] < _LEAST_LEVEL**2:
            return self._channel
        ratio = _energy(mean) * len(energies) ** 2 / sum(energies)
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


def _mean(stretch: Float32[np.ndarray, "_ C"]) -> Float32[np.ndarray, " _"]:
    """Return `to_mono`'s mean of the channels, bit for bit.

    NumPy adds fewer than eight values one after the other. Adding whole channels is the same sum,
    and for two channels 80 times as fast as `np.mean` over the last axis.
    """
    first, *others = stretch.T
    if len(others) >= _PAIRWISE_VALUES - 1:
        return np.mean(stretch, axis=1)
    total = first + np.float32(0)  # a copy, in which -0 is 0 as in a sum
    for channel in others:
        total += channel
    total /= np.float32(stretch.shape[1])
    return total


def _clearly_does_not_cancel(
    stretch: Float32[np.ndarray, "_ C"], mean: Float32[np.ndarray, " _"]
) -> bool:
    """Whether the ratio of the energies is surely above `_ENTER`; false if that is not clear.

    Sums of squares in float32 need no copies in float64. Their relative error is below n 2^-24 /
    (1 - n 2^-24), whatever the order of the additions. For up to 2^21 values, this is 1/7, and
    that of the ratio below 1/4. Squares that underflow may be missing from the sums, but together
    they are below 2^21 * 2^-126, nothing beside the least level.
    """
    if stretch.size > _MOST_SQUARES or not stretch.flags.c_contiguous:
        return False
    values = stretch.reshape(-1)
    total, of_mean = float(values @ values), float(mean @ mean)
    is_heard = of_mean > _LEAST_LEVEL**2
    return is_heard and of_mean * stretch.shape[1] ** 2 >= _CLEARLY * _ENTER * total


def _energy(samples: Float32[np.ndarray, " _"]) -> float:
    """Return the mean square."""
    wide = samples.astype(np.float64)
    return float(wide @ wide) / len(wide)


def _selected(
    stretch: Float32[np.ndarray, "_ C"], mean: Float32[np.ndarray, " _"], channel: int | None
) -> Float32[np.ndarray, " _"]:
    is_there = channel is not None and channel < stretch.shape[1]
    return stretch[:, channel] if is_there else mean
