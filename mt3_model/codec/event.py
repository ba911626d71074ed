"""The words of the model's language: an event is a type and a value.

Six types are all there is (Source: magenta/mt3 fa04532, event_codec.py and vocabularies.py
``build_codec``). What a value means depends on its type and is said once, at `EventType`.
"""

import dataclasses
import enum


class EventType(enum.Enum):
    """What an event speaks of, with the meaning of its value."""

    SHIFT = "shift"
    """Time since the start of the segment, in symbolic steps; consecutive shifts add up."""
    PITCH = "pitch"
    """MIDI note number: onset, offset or tie, by velocity and place."""
    VELOCITY = "velocity"
    """Velocity bin for the notes that follow; 0 makes them note-offs."""
    TIE = "tie"
    """End of the tie section; the value is always 0."""
    PROGRAM = "program"
    """General MIDI program, zero-based, for the pitches that follow."""
    DRUM = "drum"
    """General MIDI percussion key: an onset without an offset."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Event:
    """One event."""

    type: EventType
    value: int


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class EventRange:
    """The values that a type may take, both ends included."""

    type: EventType
    min_value: int
    max_value: int

    @property
    def size(self) -> int:
        """How many events the range holds."""
        return self.max_value - self.min_value + 1
