"""Trim overlapping notes of one pitch and program, so that notes can be encoded as tokens.

The vocabulary cannot represent two sounding notes of the same pitch and program, so training
targets end the earlier one where the later one begins. Source: magenta/mt3 fa04532,
note_sequences.py ``trim_overlapping_notes``. Departure: ``total_time`` becomes the last remaining
offset (the original keeps the old one; no token depends on it).
"""

import collections
import itertools

from msgspec import structs

from mt3_model.notes.note import NoteSequence


def trim_overlapping_notes(notes: NoteSequence) -> NoteSequence:
    """End each note where the next note of its pitch and program begins; drop empty notes.

    Drum notes are compared with drum notes only. Notes keep their order.
    """
    groups: dict[tuple[int, int, bool], list[int]] = collections.defaultdict(list)
    for position, note in enumerate(notes.notes):
        groups[note.pitch, note.program, note.is_drum].append(position)
    trimmed = list(notes.notes)
    for positions in groups.values():
        positions.sort(key=lambda position: trimmed[position].start_time)
        for earlier, later in itertools.pairwise(positions):
            start_time = trimmed[later].start_time
            if trimmed[earlier].end_time > start_time:
                trimmed[earlier] = structs.replace(trimmed[earlier], end_time=start_time)
    kept = tuple(note for note in trimmed if note.start_time < note.end_time)
    return NoteSequence(notes=kept, total_time=max((n.end_time for n in kept), default=0.0))
