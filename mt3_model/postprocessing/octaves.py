"""Notes an octave above their sound -> notes where they sound, by the recording's low partials.

The published checkpoint writes bass an octave, sometimes two, above where it sounds, because its
training labels (Slakh2100) do; single sounds of other instruments have the same error. Both show in
the recording: a note of frequency f that sounds at f/2 has a partial at f/2, and one that sounds at
f does not (`partials.py`). Pitches move down by 12 or 24 and nothing else changes.
"""

import collections
from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool
from msgspec import structs

from mt3_model.notes.note import Note
from mt3_model.postprocessing.partials import PartialLevels

BASS_PROGRAMS = range(32, 40)
"""General MIDI's bass family."""
LOWEST_BASS_PITCH = 23
"""B0, the open low string of a five-string bass: no bass sounds lower."""
_OCTAVE = 12

_ABSENT_DB = -20.0
"""A partial this far below the fundamental is leakage of the window, not a partial."""
_PRESENT_DB = -6.0
"""A first partial may be half as strong as the second one: basses, bassoons and horns have such
spectra."""
_CLEAR_DB = 6.0
"""Minimum level of a partial above the level between partials."""
_PART_SHARE = 0.3
"""Share of a part's notes that must sound lower before any of them moves. Where a part is right,
another instrument an octave below shows the same in up to a tenth of the notes (dev clips)."""
_MIN_NOTES = 4


def correct_bass_octaves(notes: Sequence[Note], levels: PartialLevels | None) -> tuple[Note, ...]:
    """Move notes of bass programs to the octave that sounds.

    Down one octave by default; two where f/4 is present too; none where nothing is at f/2. Without
    a recording every bass note moves down one octave.

    Args:
        notes: pitched notes.
        levels: their partials; None if the recording's sound is not available.
    """
    if levels is None:
        shifts = np.full(len(notes), -_OCTAVE)
    else:
        absent = levels.half - levels.fundamental < _ABSENT_DB
        second = (levels.quarter - levels.half > _PRESENT_DB) & (
            np.minimum(levels.quarter, levels.three_quarters) - levels.three_eighths > _CLEAR_DB
        )
        shifts = np.where(absent, 0, np.where(second, -2 * _OCTAVE, -_OCTAVE))
    return tuple(
        _move_bass(note, int(shift)) if note.program in BASS_PROGRAMS else note
        for note, shift in zip(notes, shifts, strict=True)
    )


def correct_part_octaves(notes: Sequence[Note], levels: PartialLevels) -> tuple[Note, ...]:
    """Move notes of other programs down an octave where the recording's partials show it.

    A note moves only if f/2 is nearly as strong as f, f/2 and 3f/2 both stand out, no other note
    explains them, and the same holds for a good part of its program's notes: an octave error
    belongs to a sound, not to a single note.

    Args:
        notes: pitched notes.
        levels: their partials.
    """
    sounds_lower = _sounds_lower(levels)
    counts = collections.Counter(note.program for note in notes)
    lower = collections.Counter(
        note.program for note, is_lower in zip(notes, sounds_lower, strict=True) if is_lower
    )
    moved = {
        program
        for program, count in lower.items()
        if program not in BASS_PROGRAMS and count >= max(_PART_SHARE * counts[program], _MIN_NOTES)
    }
    return tuple(
        _move(note, -_OCTAVE) if is_lower and note.program in moved else note
        for note, is_lower in zip(notes, sounds_lower, strict=True)
    )


def _sounds_lower(levels: PartialLevels) -> Bool[np.ndarray, " N"]:
    three_halves = np.where(
        levels.is_three_halves_explained,
        np.inf,
        levels.three_halves,
    )
    stands_out = np.minimum(levels.half, three_halves) - levels.three_quarters > _CLEAR_DB
    is_strong = levels.half - levels.fundamental > _PRESENT_DB
    return ~levels.is_half_explained & is_strong & stands_out


def _move_bass(note: Note, shift: int) -> Note:
    while shift < 0 and note.pitch + shift < LOWEST_BASS_PITCH:
        shift += _OCTAVE
    return _move(note, shift)


def _move(note: Note, shift: int) -> Note:
    if shift == 0 or note.pitch + shift < 0:
        return note
    return structs.replace(note, pitch=note.pitch + shift)
