"""Notes -> the key signature, by correlation with key profiles.

The duration of each pitch class is compared with how much each is used in every major and minor
key (Source: C. L. Krumhansl, "Cognitive Foundations of Musical Pitch", 1990, chapter 4, for the
method). The profiles are Temperley's (Source: D. Temperley, "The Cognition of Basic Musical
Structures", 2001, page 180), which find the key signature of more scores than
Krumhansl and Kessler's (README.md). Of enharmonic key signatures, the one with fewer accidentals is
written. Of six sharps and six flats, F sharp major and E flat minor are usual.
"""

from typing import Literal

import numpy as np

from mt3_model.notes.musical_time import Key
from mt3_model.rhythm.onset_strength import NoteArrays

_MAJOR = np.array([5.0, 2.0, 3.5, 2.0, 4.5, 4.0, 2.0, 4.5, 2.0, 3.5, 1.5, 4.0])
_MINOR = np.array([5.0, 2.0, 3.5, 4.5, 2.0, 4.0, 2.0, 4.5, 3.5, 2.0, 1.5, 4.0])
_PITCH_CLASSES = 12
_LONGEST_SECONDS = 1.0
"""Longer notes count as this long, so that a pedal note does not determine the key."""
_MARGIN = 0.1
"""The margin in correlation at which the key is right about four times in five."""
_MIN_NOTES = 8
_MOST_SHARPS = 6


def find_key(notes: NoteArrays) -> Key | None:
    """Return the key signature that fits best; None for fewer than eight pitched notes."""
    pitched = ~notes.is_drum
    if int(pitched.sum()) < _MIN_NOTES:
        return None
    lengths = np.minimum((notes.offsets - notes.onsets)[pitched], _LONGEST_SECONDS)
    used = np.bincount(
        notes.pitches[pitched] % _PITCH_CLASSES, weights=lengths, minlength=_PITCH_CLASSES
    )
    if np.ptp(used) == 0:
        return None
    # By key signature: a major key and its relative minor do not compete.
    best: dict[int, tuple[float, Literal["major", "minor"], int]] = {}
    modes: tuple[tuple[Literal["major", "minor"], np.ndarray], ...] = (
        ("major", _MAJOR),
        ("minor", _MINOR),
    )
    for mode, profile in modes:
        for tonic in range(_PITCH_CLASSES):
            fit = float(np.corrcoef(used, np.roll(profile, tonic))[0, 1])
            signature = key_signature(tonic, mode) % _PITCH_CLASSES
            best[signature] = max(best.get(signature, (-2.0, mode, 0)), (fit, mode, tonic))
    (fit, mode, tonic), (next_fit, _, _) = sorted(best.values(), reverse=True)[:2]
    confidence = 1 - 0.5 * float(np.exp((next_fit - fit) / _MARGIN))
    return Key(fifths=key_signature(tonic, mode), mode=mode, confidence=confidence)


def key_signature(tonic: int, mode: Literal["major", "minor"]) -> int:
    """Return the sharps (positive) or flats of a key, -6 to 6, with the fewest accidentals.

    Args:
        tonic: the pitch class, 0 for C.
        mode: the mode; a minor key has the signature of the major key three semitones above.
    """
    major = tonic if mode == "major" else (tonic + 3) % _PITCH_CLASSES
    sharps = major * 7 % _PITCH_CLASSES
    most = _MOST_SHARPS if mode == "major" else _MOST_SHARPS - 1
    return sharps - _PITCH_CLASSES if sharps > most else sharps
