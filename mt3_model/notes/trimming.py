"""Trim overlapping notes of one pitch and program, so that notes can be encoded as tokens.

The vocabulary cannot represent two sounding notes of the same pitch and program, so training
targets end the earlier one where the later one begins. Source: magenta/mt3 fa04532,
note_sequences.py ``trim_overlapping_notes``. Departure: ``total_time`` becomes the last remaining
offset (the original keeps the old one; no token depends on it).
"""

import numpy as np
from msgspec import structs

from mt3_model.notes.note import NoteSequence


def trim_overlapping_notes(notes: NoteSequence) -> NoteSequence:
    """End each note where the next note of its pitch and program begins; drop empty notes.

    Drum notes are compared with drum notes only. Notes keep their order.
    """
    starts = np.array([note.start_time for note in notes.notes], np.float64)
    ends = np.array([note.end_time for note in notes.notes], np.float64)
    keys = np.array([(n.is_drum, n.program, n.pitch) for n in notes.notes], int).reshape(-1, 3)
    order = np.lexsort((starts, *keys.T))
    earlier, later = order[:-1], order[1:]
    is_cut = (keys[earlier] == keys[later]).all(axis=1) & (ends[earlier] > starts[later])
    trimmed = list(notes.notes)
    for position, end in zip(earlier[is_cut].tolist(), starts[later[is_cut]].tolist(), strict=True):
        trimmed[position] = structs.replace(trimmed[position], end_time=end)
    kept = tuple(note for note in trimmed if note.start_time < note.end_time)
    return NoteSequence(notes=kept, total_time=max((n.end_time for n in kept), default=0.0))
