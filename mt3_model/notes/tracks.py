"""Notes -> tracks: the notes of one program each, drums apart.

A track is what a score or a MIDI file gives a staff or a channel, and what the answer lists. Its
number in the answer is known with its first note, so that a stream can say it of every note:
tracks are numbered in the order in which their first notes ended.
"""

import collections
import dataclasses
from collections.abc import Iterable

from mt3_model.notes.general_midi import DRUM_NAMES, PROGRAM_NAMES
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
            name=_name(program, is_drum=is_drum),
            notes=tuple(group),
        )
        for (is_drum, program), group in sorted(groups.items())
    )


class TrackNumbers:
    """Numbers tracks 0, 1, 2... as their first notes come."""

    def __init__(self) -> None:
        """Begins without tracks."""
        self._numbers: dict[int | None, int] = {}

    def assign(self, notes: Iterable[Note]) -> tuple[int, ...]:
        """Gives the number of each note's track; the notes come in the NoteSequence's order."""
        return tuple(self._number(None if note.is_drum else note.program) for note in notes)

    def number_of(self, track: Track) -> int:
        """Gives the number of a track whose notes have come."""
        return self._numbers[None if track.is_drum else track.program]

    def _number(self, key: int | None) -> int:
        return self._numbers.setdefault(key, len(self._numbers))


def instrument_name(note: Note) -> str:
    """Gives the name of a note's track."""
    return _name(note.program, is_drum=note.is_drum)


def drum_name(note: Note) -> str | None:
    """Gives the General MIDI name of a drum note's key; None for other notes and other keys."""
    return DRUM_NAMES.get(note.pitch) if note.is_drum else None


def _name(program: int, *, is_drum: bool) -> str:
    return DRUMS_NAME if is_drum else PROGRAM_NAMES[program]
