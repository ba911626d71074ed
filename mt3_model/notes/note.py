"""The nouns of the answer: a note, and all the notes of one recording.

Both mirror the fields of note-seq's protobuf under the same names, as frozen values that need
neither protobuf nor JAX; `mt3_model/export/note_sequence.py` writes the protobuf.
"""

import dataclasses
from collections.abc import Sequence
from typing import overload


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Note:
    """One note. Times are seconds from the start of the recording."""

    pitch: int
    """MIDI note number, 0-127; of a drum note, the General MIDI percussion key."""
    start_time: float
    end_time: float
    velocity: int
    """1-127."""
    program: int = 0
    """General MIDI program, zero-based; 0 for drums."""
    is_drum: bool = False
    instrument: int = 0
    """NoteSequence's field of that name: one number per program in the order in which their first
    notes ended, skipping 9, which is the drums'."""
    confidence: float | None = None
    """The probability the model gave to the pitch (or drum) token that began the note, in [0, 1];
    absent for notes that no model made."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class NoteSequence(Sequence[Note]):
    """The notes of one recording; a sequence of them, as a client's ``notes`` is."""

    notes: tuple[Note, ...]
    total_time: float
    """The last offset in seconds; 0 without notes."""

    @overload
    def __getitem__(self, index: int) -> Note: ...

    @overload
    def __getitem__(self, index: slice) -> tuple[Note, ...]: ...

    def __getitem__(self, index: int | slice) -> Note | tuple[Note, ...]:
        """Gives a note by its place, or some by a slice."""
        return self.notes[index]

    def __len__(self) -> int:
        """Counts the notes."""
        return len(self.notes)
