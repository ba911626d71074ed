"""Token probabilities -> the chance that a note is right.

A note's raw confidence is the probability of the token that began it. It ranks notes well but is
far too high. The chance that a note is right (onset within 50 ms, pitch or percussion key) is a
logistic function of its log odds, fitted on the development clips and checked on others (README).
Source of the form: Platt, "Probabilistic outputs for support vector machines", 1999.
"""

import math
from collections.abc import Sequence

from msgspec import structs

from mt3_model.notes.note import Note

FITTED_MODEL = "mt3"
"""The model whose notes the constants were fitted on."""
_PITCHED, _DRUMS = (0.0, 0.2), (-0.6, 0.15)
"""Offset and slope of the log odds, rounded: the fit on dev gave (-.03, .195) and (-.59, .153)."""
_LEAST = 1e-4
"""Probabilities are limited to this distance from 0 and 1."""


def calibrate_confidence(notes: Sequence[Note]) -> tuple[Note, ...]:
    """Replace each raw confidence p by ``1 / (1 + exp(-(a + b log(p / (1 - p)))))``."""
    return tuple(
        note
        if note.confidence is None
        else structs.replace(note, confidence=_calibrate(note.confidence, is_drum=note.is_drum))
        for note in notes
    )


def _calibrate(confidence: float, *, is_drum: bool) -> float:
    offset, slope = _DRUMS if is_drum else _PITCHED
    probability = min(max(confidence, _LEAST), 1.0 - _LEAST)
    odds = offset + slope * math.log(probability / (1.0 - probability))
    return 1.0 / (1.0 + math.exp(-odds))
