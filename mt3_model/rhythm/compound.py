"""Beats -> whether each divides into three, as in 6/8, 9/8 and 12/8.

The onsets inside the beats show it: at one and two thirds, or at halves and quarters. Swung eighths
also begin at two thirds, but seldom at one third; six sixteenths fill a beat of 6/8, and their
fourth is halfway, so features of whole beats are used too.
"""

import numpy as np

from mt3_model.rhythm.beat_series import positions_in_beats
from mt3_model.rhythm.onset_strength import FRAMES_PER_SECOND, NoteArrays

_INNER = 0.12
"""Beats between a beat and the onset of a note that divides it."""
_NEAR = 0.07
"""Beats by which such an onset may differ from a half, third, quarter or sixth of a beat."""
_SAME_ONSET_FRAMES = 3
COMPOUND_BIAS = -1.59
COMPOUND_WEIGHTS: dict[str, float] = {
    "beats_in_halves": -1.94, "beats_in_sixths": 0.25, "beats_in_thirds": 2.84,
    "both_thirds": 1.79, "first_third": 1.72, "half": -1.53, "quarters": -1.13,
    "second_third": 0.76, "sixths": -0.32,
}  # fmt: skip
"""The linear model, fitted as `tempo.WEIGHTS`."""


def compound_probability(notes: NoteArrays, beats: np.ndarray) -> float:
    """Return the probability that each beat divides into three, not two or four."""
    features = subdivision_features(notes, beats)
    score = COMPOUND_BIAS + sum(COMPOUND_WEIGHTS[name] * value for name, value in features.items())
    return float(1 / (1 + np.exp(-score)))


def subdivision_features(notes: NoteArrays, beats: np.ndarray) -> dict[str, float]:
    """Describe where in the beats notes begin, by the numbers that `COMPOUND_WEIGHTS` weights.

    Args:
        notes: the notes.
        beats: the times of the beats in seconds ``[B]``, at least two.

    Returns:
        Shares of the onsets inside beats, and shares of the beats with such onsets.
    """
    clusters = np.round(notes.onsets * FRAMES_PER_SECOND / _SAME_ONSET_FRAMES)
    distinct = notes.onsets[np.unique(clusters, return_index=True)[1]]
    positions = positions_in_beats(beats, distinct)
    inner = (positions % 1.0 > _INNER) & (positions % 1.0 < 1 - _INNER)
    beat, place = np.floor(positions[inner]).astype(int), positions[inner] % 1.0
    onsets = max(len(place), 1)
    divided = max(len(np.unique(beat)), 1)

    def near(fraction: float) -> np.ndarray:
        return np.abs(place - fraction) < _NEAR

    def share(*fractions: float) -> float:
        return float(sum(near(fraction).sum() for fraction in fractions)) / onsets

    halved, third, two_thirds = (set(beat[near(f)]) for f in (1 / 2, 1 / 3, 2 / 3))
    return {
        "first_third": share(1 / 3),
        "second_third": share(2 / 3),
        "half": share(1 / 2),
        "quarters": share(1 / 4, 3 / 4),
        "sixths": share(1 / 6, 5 / 6),
        "both_thirds": min(share(1 / 3), share(2 / 3)),
        "beats_in_thirds": len((third & two_thirds) - halved) / divided,
        "beats_in_sixths": len(third & two_thirds & halved) / divided,
        "beats_in_halves": len(halved - third - two_thirds) / divided,
    }
