"""Program granularity: how finely the vocabulary tells instruments apart.

``full`` keeps the 128 General MIDI programs, ``midi_class`` the first program of each family of
eight, ``flat`` none. On the way in, program events are mapped, or dropped when flat; on the way
out and in metrics, a note's program is mapped. Both are idempotent.
Source: magenta/mt3 fa04532, vocabularies.py ``PROGRAM_GRANULARITIES``.
"""

from mt3_model.codec.event import Event, EventType
from mt3_model.spec import ProgramGranularity

PROGRAMS_PER_CLASS = 8
"""General MIDI has 16 families of eight programs. Source: ``programs_to_midi_classes``."""


def map_program(program: int, granularity: ProgramGranularity) -> int:
    """Gives the program, 0-127, that stands for ``program`` at a granularity."""
    match granularity:
        case "flat":
            return 0
        case "midi_class":
            return program // PROGRAMS_PER_CLASS * PROGRAMS_PER_CLASS
        case "full":
            return program


def map_program_event(event: Event, granularity: ProgramGranularity) -> Event | None:
    """Maps a program event, ``None`` where it is dropped; other events pass unchanged."""
    if event.type is not EventType.PROGRAM:
        return event
    if granularity == "flat":
        return None
    return Event(type=EventType.PROGRAM, value=map_program(event.value, granularity))
