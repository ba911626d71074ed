import pytest

from mt3_model.codec.event import Event, EventType
from mt3_model.codec.program import map_program, map_program_event
from mt3_model.spec import ProgramGranularity

ELECTRIC_BASS = 33


@pytest.mark.parametrize(
    ("granularity", "program"), [("flat", 0), ("midi_class", 32), ("full", ELECTRIC_BASS)]
)
def test_program_maps_by_granularity(granularity: ProgramGranularity, program: int) -> None:
    assert map_program(ELECTRIC_BASS, granularity) == program
    assert map_program(program, granularity) == program


def test_flat_drops_program_events() -> None:
    assert map_program_event(Event(type=EventType.PROGRAM, value=33), "flat") is None


def test_midi_class_maps_to_the_first_program_of_the_family() -> None:
    mapped = map_program_event(Event(type=EventType.PROGRAM, value=33), "midi_class")
    assert mapped == Event(type=EventType.PROGRAM, value=32)


def test_other_events_pass_unchanged() -> None:
    drum = Event(type=EventType.DRUM, value=36)
    assert map_program_event(drum, "flat") is drum
