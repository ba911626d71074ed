"""Notes -> onset strength: how strongly the notes that begin at each moment suggest a beat.

Beats are where many notes begin, where long notes begin, where the bass moves and where the kick
and snare drums sound. Each note adds its weight to the frame of its onset; the sum is compressed,
so that a chord of ten notes does not outweigh ten beats, and divided by its local mean, so that
quiet and dense passages count alike.
"""

import dataclasses
import functools

import numpy as np

from mt3_model.notes.general_midi import DRUM_GROUPS
from mt3_model.notes.note import Note

FRAMES_PER_SECOND = 100
"""The rate of the frames: MT3's symbolic step of 10 ms."""
_SMEAR_FRAMES = 2
"""Standard deviation of an onset, 20 ms: the usual asynchrony of players (Source: Rasch 1979,
"Synchronization in performed ensemble music": 30 to 50 ms between parts)."""
_LOCAL_SECONDS = 6.0
"""Length of the window of the local mean."""
_LONG_SECONDS = 1.0
"""Longer notes have no more weight."""
KICKS = frozenset(DRUM_GROUPS["kick"])
SNARES = frozenset(DRUM_GROUPS["snare"])
TOMS = frozenset(DRUM_GROUPS["tom"])
CYMBALS = frozenset({49, 52, 55, 57})


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class NoteArrays:
    """The notes of one recording as arrays ``[N]``, ordered by onset."""

    onsets: np.ndarray
    """Seconds."""
    offsets: np.ndarray
    """Seconds."""
    pitches: np.ndarray
    is_drum: np.ndarray
    weights: np.ndarray
    """The strength with which each onset suggests a beat."""

    @classmethod
    def from_notes(cls, notes: tuple[Note, ...]) -> "NoteArrays":
        """Build the arrays; drums and pitched notes together."""
        ordered = sorted(notes, key=lambda n: (n.start_time, n.pitch, n.end_time))
        onsets = np.array([n.start_time for n in ordered], np.float64)
        offsets = np.array([n.end_time for n in ordered], np.float64)
        pitches = np.array([n.pitch for n in ordered], np.int64)
        is_drum = np.array([n.is_drum for n in ordered], bool)
        velocities = np.array([n.velocity for n in ordered], np.float64)
        return cls(
            onsets=onsets,
            offsets=offsets,
            pitches=pitches,
            is_drum=is_drum,
            weights=_weights(onsets, offsets, pitches, is_drum, velocities),
        )

    def between(self, start: float, end: float) -> "NoteArrays":
        """Return the notes that begin between two times, seconds."""
        kept = slice(*np.searchsorted(self.onsets, (start, end)))
        return NoteArrays(
            onsets=self.onsets[kept],
            offsets=self.offsets[kept],
            pitches=self.pitches[kept],
            is_drum=self.is_drum[kept],
            weights=self.weights[kept],
        )

    def are_drums(self, keys: frozenset[int]) -> np.ndarray:
        """Return which notes are drums of some keys, ``[N]``."""
        return self.is_drum & _contains(keys)[self.pitches]


@functools.cache
def _contains(keys: frozenset[int]) -> np.ndarray:
    """Return for each MIDI note number whether it is one of the keys, ``[128]``."""
    return np.isin(np.arange(128), list(keys))


def _weights(
    onsets: np.ndarray,
    offsets: np.ndarray,
    pitches: np.ndarray,
    is_drum: np.ndarray,
    velocities: np.ndarray,
) -> np.ndarray:
    lengths = np.minimum(offsets - onsets, _LONG_SECONDS) / _LONG_SECONDS
    bass = np.clip((55 - pitches) / 20, 0.0, 1.0)  # from G3 down to B1
    pitched = 0.4 + lengths + 0.8 * bass
    drums = np.select(
        [_contains(keys)[pitches] for keys in (KICKS, SNARES, CYMBALS)], [1.6, 1.3, 1.0], 0.3
    )
    return np.where(is_drum, drums, pitched) * (0.5 + 0.5 * velocities / 127)


def measure_onset_strength(notes: NoteArrays, frames: int, start: float) -> np.ndarray:
    """Return the onset strength ``[T]``, whose mean is 1 wherever there are notes.

    Args:
        notes: the notes.
        frames: the number of frames.
        start: the time of the first frame in seconds.
    """
    index = np.round((notes.onsets - start) * FRAMES_PER_SECOND).astype(int)
    summed = np.bincount(np.clip(index, 0, frames - 1), weights=notes.weights, minlength=frames)
    radius = 3 * _SMEAR_FRAMES
    kernel = np.exp(-0.5 * (np.arange(-radius, radius + 1) / _SMEAR_FRAMES) ** 2)
    strength = np.log1p(np.convolve(summed, kernel, mode="same")[:frames])
    local = _moving_mean(strength, int(_LOCAL_SECONDS * FRAMES_PER_SECOND))
    whole = float(strength.mean())
    return strength / (0.7 * local + 0.3 * whole + 1e-9)


def _moving_mean(values: np.ndarray, width: int) -> np.ndarray:
    sums = np.concatenate(([0.0], np.cumsum(values)))
    index = np.arange(len(values))
    low, high = np.maximum(index - width // 2, 0), np.minimum(index + width // 2 + 1, len(values))
    return (sums[high] - sums[low]) / (high - low)
