import pytest

from mt3_model.notes.instruments_option import NamedInstruments, parse_instruments
from mt3_model.notes.named_winds import tell_winds_apart
from mt3_model.notes.note import Note
from tests.unit.postprocessing.tones import note

TRUMPET, TROMBONE, TUBA, HORN, SECTION = 56, 57, 58, 60, 61
CHORALE = (70, 65, 60, 44)


def named(*programs: int) -> NamedInstruments:
    instruments = parse_instruments(tuple(str(program) for program in programs))
    assert instruments is not None
    return instruments


def chorale(program: int = SECTION) -> list[Note]:
    return [note(p + i % 3, i, i + 1.0, program=program) for i in range(6) for p in CHORALE]


def programs_of(notes: tuple[Note, ...]) -> list[int]:
    return [each.program for each in notes]


def test_voices_of_a_brass_section_go_to_the_named_winds_from_high_to_low() -> None:
    apart = tell_winds_apart(chorale(), named(TRUMPET, TROMBONE, TUBA, HORN))
    assert programs_of(apart) == [TRUMPET, HORN, TROMBONE, TUBA] * 6


def test_only_programs_change() -> None:
    apart = tell_winds_apart(chorale(), named(TRUMPET, TUBA))
    assert [(n.pitch, n.start_time, n.end_time) for n in apart] == [
        (n.pitch, n.start_time, n.end_time) for n in chorale()
    ]


def test_a_named_program_keeps_its_notes_and_is_busy_meanwhile() -> None:
    trumpets = [note(76, i, i + 1.0, program=TRUMPET) for i in range(8)]
    others = [note(70, i, i + 1.0, program=SECTION) for i in range(8)]
    apart = tell_winds_apart([*trumpets, *others], named(TRUMPET, HORN))
    assert programs_of(apart) == [TRUMPET] * 8 + [HORN] * 8


@pytest.mark.parametrize("programs", [(TRUMPET,), (0, 40), (SECTION, TRUMPET, HORN)])
def test_without_several_winds_to_choose_from_nothing_changes(programs: tuple[int, ...]) -> None:
    assert tell_winds_apart(chorale(), named(*programs)) == tuple(chorale())


def test_a_few_notes_stay() -> None:
    few = chorale()[:7]
    assert tell_winds_apart(few, named(TRUMPET, HORN)) == tuple(few)


def test_no_notes_stay_none() -> None:
    assert tell_winds_apart([], named(TRUMPET, HORN)) == ()
