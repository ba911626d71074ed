"""Map programs to a granularity: the resolution at which the vocabulary distinguishes instruments.

``full`` keeps the 128 General MIDI programs, ``midi_class`` keeps the first program of each family
of eight, and ``flat`` has no programs. Encoding maps program events (``flat`` drops them); metrics
map the programs of notes. Both mappings are idempotent.
Source: magenta/mt3 fa04532, vocabularies.py ``PROGRAM_GRANULARITIES``.
"""

from mt3_model.codec.event import Event, EventType
from mt3_model.spec import ProgramGranularity

PROGRAMS_PER_CLASS = 8
"""General MIDI has 16 families of eight programs. Source: ``programs_to_midi_classes``."""


def map_program(program: int, granularity: ProgramGranularity) -> int:
    """Return the program, 0-127, that represents ``program`` at a granularity."""
    match granularity:
        case "flat":
            return 0
        case "midi_class":
            return program // PROGRAMS_PER_CLASS * PROGRAMS_PER_CLASS
        case "full":
            return program


def map_program_event(event: Event, granularity: ProgramGranularity) -> Event | None:
    """Map a program event, or return ``None`` to drop it; other events are unchanged."""
    if event.type is not EventType.PROGRAM:
        return event
    if granularity == "flat":
        return None
    return Event(type=EventType.PROGRAM, value=map_program(event.value, granularity))
