"""Notes -> tracks: the notes of one program each, drums apart.

A track is what a score or a MIDI file gives a staff or a channel, and what the answer lists.
"""

import collections
import dataclasses

from mt3_model.notes.general_midi import PROGRAM_NAMES
from mt3_model.notes.note import Note, NoteSequence

DRUMS_NAME = "Drums"


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Track:
    """The notes of one program, or the drums."""

    program: int
    """General MIDI program, zero-based; 0 for drums."""
    is_drum: bool
    name: str
    """The program's General MIDI name, or ``Drums``."""
    notes: tuple[Note, ...]
    """In the NoteSequence's order."""


def group_tracks(notes: NoteSequence) -> tuple[Track, ...]:
    """Groups notes by program, programs ascending and drums last; no track is empty."""
    groups: dict[tuple[bool, int], list[Note]] = collections.defaultdict(list)
    for note in notes.notes:
        groups[note.is_drum, 0 if note.is_drum else note.program].append(note)
    return tuple(
        Track(
            program=program,
            is_drum=is_drum,
            name=DRUMS_NAME if is_drum else PROGRAM_NAMES[program],
            notes=tuple(group),
        )
        for (is_drum, program), group in sorted(groups.items())
    )
