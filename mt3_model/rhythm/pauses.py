"""Pauses of a bar or more -> beats in them such that the music after each begins on its own bars.

Bars are counted from one first downbeat (`MusicalTime`). Where a piece stops and begins again, or
another piece follows, the beats between are silent, and their number is unknown, so it is chosen
such that the bars of both sides fit. All bars stay whole.
"""

import dataclasses

import numpy as np

from mt3_model.notes.time_signature import TimeSignature
from mt3_model.rhythm.bars import find_meter
from mt3_model.rhythm.onset_strength import NoteArrays

MIN_PAUSE = 0.95
"""Minimum length of a pause, in bars at the median beat."""
MIN_GAIN = 1.0
"""Log odds by which the bars must become more likely (README.md)."""
_REACH_BEATS = 64
"""Beats on each side that are compared: at least 16 bars, beyond which further bars do
not strengthen the evidence (`bars.py`)."""
_RINGING = 0.15
"""Beats by which a note may ring into the pause after its last beat."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Pause:
    """Silence between two notes, seconds."""

    start: float
    end: float


def fit_pauses(notes: NoteArrays, beats: np.ndarray, signature: TimeSignature) -> np.ndarray:
    """Replace the beats in each pause by as many as suit the bars before and after it.

    Args:
        notes: the notes.
        beats: the times of the beats in seconds ``[B]``, at least two.
        signature: the time signature of the whole.

    Returns:
        The times of the beats; the same outside pauses.
    """
    pauses = find_pauses(
        notes, MIN_PAUSE * signature.beats_per_bar * float(np.median(np.diff(beats)))
    )
    limits = [-np.inf, *(pause.start for pause in pauses), np.inf]
    for i, pause in enumerate(pauses):
        beats = _fit_pause(notes, beats, pause, (limits[i], limits[i + 2]), signature)
    return beats


def find_pauses(notes: NoteArrays, seconds: float) -> list[Pause]:
    """Find where nothing sounds for some time between two notes.

    Args:
        notes: the notes, ordered by onset.
        seconds: the least length of a pause.
    """
    ends, onsets = np.maximum.accumulate(notes.offsets)[:-1], notes.onsets[1:]
    return [
        Pause(start=float(ends[i]), end=float(onsets[i]))
        for i in np.flatnonzero(onsets - ends >= seconds)
    ]


def _fit_pause(
    notes: NoteArrays,
    beats: np.ndarray,
    pause: Pause,
    limits: tuple[float, float],
    signature: TimeSignature,
) -> np.ndarray:
    """Return the beats with the best number of them in one pause.

    Args:
        notes: the notes.
        beats: the times of the beats in seconds ``[B]``.
        pause: the pause.
        limits: the pause before it and the one after it, seconds.
        signature: the time signature.
    """
    first = int(np.searchsorted(beats, pause.start - _RINGING * float(np.median(np.diff(beats)))))
    last = int(np.abs(beats - pause.end).argmin())
    if last <= first:
        return beats
    begin = max(first - _REACH_BEATS, int(np.searchsorted(beats, limits[0])))
    end = min(last + _REACH_BEATS, int(np.searchsorted(beats, limits[1])), len(beats) - 1)
    near = notes.between(float(beats[begin]), float(beats[end]))
    per_bar = signature.beats_per_bar
    best, best_score = beats, -np.inf
    for shift in range(per_bar):
        count = _nearest_count(last - first, shift, per_bar)
        pieces = beats[:first], np.linspace(beats[first], beats[last], count + 1), beats[last + 1 :]
        candidate = np.concatenate(pieces)
        window = candidate[begin : end + 1 + count - (last - first)]
        score = find_meter(near, window, signature).score - (MIN_GAIN if shift else 0.0)
        if score > best_score:
            best, best_score = candidate, score
    return best


def _nearest_count(count: int, shift: int, per_bar: int) -> int:
    """Return the number nearest to ``count``, at least 1, equal to ``count + shift`` modulo a bar.

    Numbers are compared by ratio. Adding whole bars does not change the bars after the pause.
    """
    least = (count + shift - 1) % per_bar + 1
    numbers = np.arange(least, count + 2 * per_bar, per_bar)
    return int(numbers[np.abs(np.log(numbers / count)).argmin()])
