"""Group notes into tracks: one per program, and one for the drums.

A track gets its own staff in a score, its own channel in a MIDI file, and an entry in the JSON
result. Track numbers follow the order in which the tracks' first notes ended, so a stream of notes
can name the track of every note as soon as the note ends.
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
    """The name given to the track; else the General MIDI name of the program, or ``Drums``."""
    notes: tuple[Note, ...]
    """The track's notes, in the order of the NoteSequence."""

    @property
    def has_own_name(self) -> bool:
        """Whether the name is not the one that General MIDI gives."""
        return self.name != _name(self.program, is_drum=self.is_drum)


def group_tracks(notes: NoteSequence) -> tuple[Track, ...]:
    """Group notes by program, programs ascending and drums last; no track is empty."""
    names = dict(notes.track_names)
    groups: dict[tuple[bool, int], list[Note]] = collections.defaultdict(list)
    for note in notes.notes:
        groups[note.is_drum, 0 if note.is_drum else note.program].append(note)
    return tuple(
        Track(
            program=program,
            is_drum=is_drum,
            name=names.get(None if is_drum else program) or _name(program, is_drum=is_drum),
            notes=tuple(group),
        )
        for (is_drum, program), group in sorted(groups.items())
    )


class TrackNumbers:
    """Numbers tracks 0, 1, 2... in the order of their first notes."""

    def __init__(self) -> None:
        self._numbers: dict[int | None, int] = {}  # by program; None for the drums

    def assign(self, notes: Iterable[Note]) -> tuple[int, ...]:
        """Return the track number of each note, numbering new tracks.

        Args:
            notes: The recording's next notes, in the order of the NoteSequence.
        """
        return tuple(self._number(None if note.is_drum else note.program) for note in notes)

    def number_of(self, track: Track) -> int:
        """Return the number of a track whose notes have been assigned."""
        return self._numbers[None if track.is_drum else track.program]

    def _number(self, key: int | None) -> int:
        return self._numbers.setdefault(key, len(self._numbers))


def instrument_name(note: Note) -> str:
    """Return the name that General MIDI gives to a note's track."""
    return _name(note.program, is_drum=note.is_drum)


def drum_name(note: Note) -> str | None:
    """Return the General MIDI name of a drum note's key, or None if it has none."""
    return DRUM_NAMES.get(note.pitch) if note.is_drum else None


def _name(program: int, *, is_drum: bool) -> str:
    return DRUMS_NAME if is_drum else PROGRAM_NAMES[program]
