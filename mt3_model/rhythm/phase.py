"""Beats -> the same, or the places halfway between them if those are on the beat.

Off-beat chords, as in ska, pull tracked beats off the beat. Onsets alone cannot tell, if as many
notes begin between the beats as on them. But bass notes, long notes, snare drums and crash cymbals
begin on beats, in nearly all music.
"""

import numpy as np

from mt3_model.rhythm.beat_series import positions_in_beats
from mt3_model.rhythm.onset_strength import CYMBALS, KICKS, SNARES, NoteArrays

PHASE_WEIGHTS = {"bass": 3.5, "long": 4.9, "kick": 0.4, "snare": 2.8, "crash": 1.5}
"""The linear model, fitted as `tempo.WEIGHTS`: positive for beats that are on the beat."""
_PRIOR = 2.0
"""The log odds, a priori, that tracked beats are on the beat: they were in nine of ten of the
synthetic performances."""
_NEAR = 0.12
"""Beats by which an onset may differ from a beat, or from halfway."""
_BASS = 50
_LONG_SECONDS = 1.5
"""Longer notes count as this long."""
_FEW = 2.0
"""Onsets added to both counts, so that a few onsets weigh little."""


def settle_phase(notes: NoteArrays, beats: np.ndarray) -> np.ndarray:
    """Return the beats ``[B]`` in seconds, or the places halfway between if those are on the beat.

    Args:
        notes: the notes.
        beats: the times of the beats in seconds, at least three.
    """
    if accent(notes, beats, 1 / 2) > -_PRIOR:
        return beats
    return beats[:-1] + np.diff(beats) / 2


def accent(notes: NoteArrays, beats: np.ndarray, fraction: float) -> float:
    """Return the evidence for these beats against that for places between them.

    Args:
        notes: the notes.
        beats: the times of the beats in seconds ``[B]``, at least two.
        fraction: where the other places are, in beats after a beat.

    Returns:
        Zero without evidence; negative if there is more for the other places.
    """
    positions = positions_in_beats(beats, notes.onsets)
    inside = (positions > -0.5) & (positions < len(beats) - 0.5)  # noqa: PLR2004
    fractions = positions % 1.0
    on_beat = inside & (np.minimum(fractions, 1 - fractions) < _NEAR)
    between = inside & (np.abs(fractions - fraction) < _NEAR)

    def contrast(chosen: np.ndarray, weights: np.ndarray) -> float:
        on, off = weights[on_beat & chosen].sum(), weights[between & chosen].sum()
        return float((on - off) / (on + off + _FEW))

    pitched = ~notes.is_drum
    ones = np.ones(len(positions))
    lengths = np.minimum(notes.offsets - notes.onsets, _LONG_SECONDS)
    contrasts = {
        "bass": contrast(pitched & (notes.pitches < _BASS), ones),
        "long": contrast(pitched, lengths),
        "kick": contrast(notes.are_drums(KICKS), ones),
        "snare": contrast(notes.are_drums(SNARES), ones),
        "crash": contrast(notes.are_drums(CYMBALS), ones),
    }
    return sum(PHASE_WEIGHTS[name] * value for name, value in contrasts.items())
