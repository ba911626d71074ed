from mt3_model.postprocessing.duplicates import merge_duplicates
from tests.unit.postprocessing.tones import note

PIANO, GUITAR, BASS = 0, 24, 33


def test_the_program_with_more_notes_keeps_the_note() -> None:
    piano, guitar = note(60, 0.0, 1.0, program=PIANO), note(60, 0.02, 1.0, program=GUITAR)
    more = note(64, 5.0, 6.0, program=GUITAR)
    assert merge_duplicates([piano, guitar, more]) == (guitar, more)


def test_a_bass_keeps_its_note_against_a_program_with_more() -> None:
    piano, bass = note(40, 0.0, 1.0, program=PIANO), note(40, 0.02, 1.0, program=BASS)
    more = note(64, 5.0, 6.0, program=PIANO)
    assert merge_duplicates([piano, bass, more]) == (bass, more)


def test_the_merged_note_lasts_as_long_as_the_longest() -> None:
    merged = merge_duplicates([note(60, 0.0, 1.0), note(60, 0.01, 3.0, program=GUITAR)])
    assert merged == (note(60, 0.0, 3.0),)


def test_of_equal_programs_the_earlier_note_stays() -> None:
    late, early = note(60, 0.02, 1.0, program=PIANO), note(60, 0.0, 1.0, program=GUITAR)
    assert merge_duplicates([late, early]) == (early,)


def test_onsets_further_apart_stay() -> None:
    notes = (note(60, 0.0, 1.0), note(60, 0.04, 1.0, program=GUITAR))
    assert merge_duplicates(notes) == notes


def test_other_pitches_stay() -> None:
    notes = (note(60), note(61, program=GUITAR))
    assert merge_duplicates(notes) == notes


def test_no_notes_stay_none() -> None:
    assert merge_duplicates([]) == ()
