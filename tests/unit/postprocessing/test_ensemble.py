from mt3_model.notes.note import Note
from mt3_model.postprocessing.ensemble import (
    find_parts,
    join_alternating_programs,
    relabel_minor_programs,
)
from tests.unit.postprocessing.tones import note

PIANO, ELECTRIC_PIANO, GUITAR, BASS, FLUTE = 0, 4, 24, 33, 73


def line(program: int, pitch: int, first: float, count: int, step: float = 0.5) -> list[Note]:
    """Notes one after another."""
    return [
        note(pitch, first + i * step, first + (i + 1) * step, program=program) for i in range(count)
    ]


def programs(notes: tuple[Note, ...]) -> set[int]:
    return {each.program for each in notes}


def test_a_program_with_few_notes_goes_to_the_nearest_part() -> None:
    low, high = line(GUITAR, 48, 0.0, 40), line(FLUTE, 84, 0.0, 40)
    slip = note(82, 10.1, 10.4, program=PIANO)
    assert relabel_minor_programs([*low, *high, slip])[-1].program == FLUTE


def test_a_solo_is_a_part_though_it_has_few_notes() -> None:
    # 12 of 412 notes are 2.9 %, yet all of 6 s.
    long_part = line(PIANO, 60, 0.0, 400)
    solo = line(FLUTE, 84, 200.0, 12)
    assert find_parts([*long_part, *solo]) == {PIANO, FLUTE}


def test_a_bass_is_a_part_though_it_has_few_notes() -> None:
    # 15 of 195 notes are 7.7 %; a note every 3 s is in two thirds of the segments.
    assert find_parts([*line(PIANO, 60, 0.0, 180, 0.25), *line(BASS, 40, 0.0, 15, 3.0)]) == {
        PIANO,
        BASS,
    }


def test_a_slip_of_one_segment_is_no_part() -> None:
    assert find_parts([*line(PIANO, 60, 0.0, 400), *line(FLUTE, 84, 200.0, 12, 0.1)]) == {PIANO}


def test_a_part_of_the_same_family_comes_before_a_nearer_one() -> None:
    guitar, flute = line(GUITAR, 48, 0.0, 40), line(FLUTE, 84, 0.0, 40)
    slip = note(82, 10.1, 10.4, program=GUITAR + 1)
    assert relabel_minor_programs([*guitar, *flute, slip])[-1].program == GUITAR


def test_many_small_programs_leave_the_largest() -> None:
    notes = [note(60 + i, i, i + 1, program=5 * i) for i in range(20)]
    assert find_parts([*notes, note(50, 30, 31, program=35)]) == {35}


def test_alternating_programs_of_a_family_become_one() -> None:
    notes = [*line(PIANO, 60, 0.0, 5), *line(ELECTRIC_PIANO, 62, 2.5, 4)]
    assert programs(join_alternating_programs(notes)) == {PIANO}


def test_programs_of_a_family_that_play_together_stay() -> None:
    notes = [*line(PIANO, 60, 0.0, 5), *line(ELECTRIC_PIANO, 62, 0.0, 4)]
    assert programs(join_alternating_programs(notes)) == {PIANO, ELECTRIC_PIANO}


def test_programs_of_a_family_in_other_registers_stay() -> None:
    notes = [*line(PIANO, 40, 0.0, 5), *line(ELECTRIC_PIANO, 72, 2.5, 4)]
    assert programs(join_alternating_programs(notes)) == {PIANO, ELECTRIC_PIANO}


def test_alternating_programs_of_other_families_stay() -> None:
    notes = [*line(PIANO, 60, 0.0, 5), *line(GUITAR, 62, 2.5, 4)]
    assert programs(join_alternating_programs(notes)) == {PIANO, GUITAR}


def test_no_notes_have_no_parts() -> None:
    assert find_parts([]) == frozenset()
    assert relabel_minor_programs([]) == ()
    assert join_alternating_programs([]) == ()
