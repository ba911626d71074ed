"""Events, the words of the model's vocabulary: a type and a value.

There are six types (Source: magenta/mt3 fa04532, event_codec.py and vocabularies.py
``build_codec``). `EventType` defines the meaning of each type's value.
"""

import dataclasses
import enum


class EventType(enum.Enum):
    """The type of an event, which determines the meaning of its value."""

    SHIFT = "shift"
    """Time since the start of the segment, in symbolic steps; consecutive shifts add up."""
    PITCH = "pitch"
    """MIDI note number. An onset or offset depending on the current velocity; before ``tie``, a
    note that continues from the segment before."""
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
    """The range of values of one type, both ends included."""

    type: EventType
    min_value: int
    max_value: int
