"""MIDI pitches -> note names, and the key signature with the fewest accidentals.

Names are points on the line of fifths (F -1, C 0, G 1 ... F sharp 6), where a key signature of f
sharps has the seven points from f - 1 to f + 5. Each note gets the name nearest to the center of
the local key, as in Temperley's spelling rules (The Cognition of Basic Musical Structures, MIT
Press 2001, chapter 5); a note that moves by a semitone to the next one prefers the name that makes
it a diatonic semitone (five steps on the line, not seven), as in the second stage of Meredith's
ps13 (The ps13 pitch spelling algorithm, JNMR 35, 2006). The local key is the one with the fewest
chromatic notes in the surrounding bars, with a preference for the key of the whole.
"""

import dataclasses
from collections.abc import Iterable, Sequence

import numpy as np

from mt3_model.score.quantization import QuantizedNote

_MAX_FIFTHS = 7
_LETTERS = "FCGDAEB"
_LETTER_PITCHES = {"C": 0, "D": 2, "E": 4, "F": 5, "G": 7, "A": 9, "B": 11}
_SEMITONES = 12
_CENTER = 2
"""The middle of the seven points of C major: D."""
_LEADING_TONE = 8
"""The point of the raised leading tone of A minor: G sharp."""
_SHARPWARD = 0.5
"""Raised degrees, of the dominant and of minor keys, are more frequent than lowered ones."""
_DIATONIC, _CHROMATIC = 5, 7
"""Steps on the line of fifths of a minor second and of an augmented prime."""
_CHROMATIC_COST = 3.0
"""In steps on the line of fifths, as is the next."""
_DOUBLE_COST = 2.5
"""Cost of a double accidental: less than that of a chromatic semitone, which it avoids."""
_MAX_LOCAL_FIFTHS = 9
_WINDOW_BARS = 2
_HOME_WEIGHT = 0.06
"""Attraction of a local key to the key of the whole, per fifth: part of the bars' notes."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class SpelledPitch:
    """A pitch as it is written."""

    step: str
    """``A`` to ``G``."""
    alter: int
    """Semitones: 1 for a sharp."""
    octave: int
    """4 from middle C upwards."""


def estimate_fifths(notes: Iterable[QuantizedNote]) -> int:
    """Return the key signature with the fewest accidentals, -7 to 7; the simplest of equals.

    The raised leading tone of the relative minor counts half, because every piece in minor has it.
    """
    weights = np.zeros(_SEMITONES)
    for note in notes:
        weights[note.pitch % _SEMITONES] += 1

    def cost(fifths: int) -> tuple[float, int, int]:
        leading_tone = (fifths + _LEADING_TONE) * 7 % _SEMITONES
        chromatic = weights.sum() - weights[_pitch_classes(fifths)].sum()
        return float(chromatic - weights[leading_tone] / 2), abs(fifths), -fifths

    return min(range(-_MAX_FIFTHS, _MAX_FIFTHS + 1), key=cost)


def _pitch_classes(fifths: int) -> list[int]:
    """Return the seven pitch classes of a key signature."""
    return [(point * 7) % _SEMITONES for point in range(fifths - 1, fifths + 6)]


def local_keys(
    parts: Sequence[Sequence[QuantizedNote]], bar_of: Sequence[Sequence[int]], bars: int, home: int
) -> list[int]:
    """Return the key signature that fits each bar, near to the signature of the whole.

    Args:
        parts: The pitched notes of each part.
        bar_of: The index of each note's bar.
        bars: The number of bars.
        home: The key signature of the whole, in fifths.
    """
    weights = np.zeros((bars, _SEMITONES))
    for notes, indices in zip(parts, bar_of, strict=True):
        for note, index in zip(notes, indices, strict=True):
            weights[index, note.pitch % _SEMITONES] += 1
    padded = np.pad(weights, ((_WINDOW_BARS, _WINDOW_BARS), (0, 0)))
    windows = sum(
        (padded[shift : shift + bars] for shift in range(2 * _WINDOW_BARS + 1)),
        np.zeros_like(weights),
    )
    candidates = sorted(
        range(max(home - 6, -_MAX_LOCAL_FIFTHS), min(home + 6, _MAX_LOCAL_FIFTHS) + 1),
        key=lambda f: abs(f - home),
    )
    totals = windows.sum(axis=1)
    costs = np.stack(
        [
            totals - windows[:, _pitch_classes(f)].sum(axis=1)
            + _HOME_WEIGHT * abs(f - home) * totals
            for f in candidates
        ],
        axis=1,
    )  # fmt: skip
    return [candidates[i] for i in np.argmin(costs, axis=1)]


def spell(notes: Sequence[QuantizedNote], keys: Sequence[int]) -> dict[tuple[int, int], int]:
    """Spell the notes of one part.

    Args:
        notes: The notes by start.
        keys: The local key of each note.

    Returns:
        The point on the line of fifths of each note, by its start and pitch.
    """
    points: dict[tuple[int, int], int] = {}
    following: dict[int, int] = {}  # the point of the last spelled note of each pitch
    # Backwards, because a chromatic note is spelled by the note that it leads to.
    recent: list[tuple[int, int]] = []  # (start, pitch) of the notes after, nearest first
    for note, key in zip(reversed(notes), reversed(keys), strict=True):
        targets = [
            following[pitch]
            for start, pitch in recent
            if start > note.start and abs(pitch - note.pitch) == 1
        ]
        point = _nearest_point(note.pitch, key, targets[:1])
        points[note.start, note.pitch] = point
        following[note.pitch] = point
        recent = [(note.start, note.pitch), *recent[:5]]
    return points


def _nearest_point(pitch: int, key: int, targets: Sequence[int]) -> int:
    center = key + _CENTER + _SHARPWARD
    # Pitch class p is at 7 p (mod 12) on the line of fifths.
    base = (pitch * 7) % _SEMITONES
    near = base + _SEMITONES * round((center - base) / _SEMITONES)
    candidates = [near, near - _SEMITONES, near + _SEMITONES]

    def cost(point: int) -> float:
        chromatic = sum(abs(point - target) == _CHROMATIC for target in targets)
        is_double = not -1 <= (point + 1) // len(_LETTERS) <= 1
        return abs(point - center) + _CHROMATIC_COST * chromatic + _DOUBLE_COST * is_double

    return min(candidates, key=cost)


def to_spelled_pitch(pitch: int, point: int) -> SpelledPitch:
    """Return the name of a pitch for its point on the line of fifths.

    Args:
        pitch: MIDI note number.
        point: Its point; ``7 * pitch`` and ``point`` are equal modulo 12.
    """
    step = _LETTERS[(point + 1) % len(_LETTERS)]
    alter = (point + 1) // len(_LETTERS)
    octave = (pitch - alter - _LETTER_PITCHES[step]) // _SEMITONES - 1
    return SpelledPitch(step=step, alter=alter, octave=octave)


def key_alterations(fifths: int) -> dict[str, int]:
    """Return the alteration of each letter under a key signature."""
    return {
        _LETTERS[(point + 1) % len(_LETTERS)]: (point + 1) // len(_LETTERS)
        for point in range(fifths - 1, fifths + 6)
    }
