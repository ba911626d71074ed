import pytest

from mt3_model.postprocessing.usual_programs import choose_usual_programs
from tests.unit.postprocessing.tones import note

PIANO, ELECTRIC_BASS, TRUMPET, VIOLIN = 0, 33, 56, 40


def chosen(*programs: int, pitch: int = 60, has_drums: bool) -> list[int]:
    notes = [note(pitch, program=program) for program in programs]
    return [n.program for n in choose_usual_programs(notes, has_drums=has_drums)]


@pytest.mark.parametrize(
    ("program", "with_drums", "without_drums"),
    [
        (PIANO, PIANO, PIANO),
        (8, 11, 11),
        (16, 16, 19),
        (24, 25, 24),
        (29, 30, 30),
        (50, 50, 48),
        (61, 61, 60),
        (64, 65, 65),
        (88, 89, 89),
    ],
)
def test_a_class_has_a_usual_program(program: int, with_drums: int, without_drums: int) -> None:
    assert chosen(program, PIANO, has_drums=True)[0] == with_drums
    assert chosen(program, PIANO, has_drums=False)[0] == without_drums


def test_high_chromatic_percussion_is_a_glockenspiel() -> None:
    assert chosen(8, pitch=96, has_drums=True) == [9]


@pytest.mark.parametrize(
    ("others", "bass"), [([PIANO], 32), ([TRUMPET, 61], 58), ([VIOLIN, 48], 43), ([], 33)]
)
def test_a_bass_without_drums_suits_its_ensemble(others: list[int], bass: int) -> None:
    assert chosen(ELECTRIC_BASS, *others, has_drums=False)[0] == bass


def test_a_bass_with_drums_stays_electric() -> None:
    assert chosen(ELECTRIC_BASS, PIANO, has_drums=True) == [33, PIANO]
