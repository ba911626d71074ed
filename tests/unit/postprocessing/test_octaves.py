import pytest

from mt3_model.notes.note import Note
from mt3_model.postprocessing.octaves import correct_bass_octaves, correct_part_octaves
from mt3_model.postprocessing.partials import measure_partials
from tests.unit.postprocessing.tones import note, sound_of

BASS, BASSOON = 33, 70


def pitches(notes: tuple[Note, ...]) -> list[int]:
    return [each.pitch for each in notes]


@pytest.mark.parametrize(("sounding", "written"), [(40, 52), (33, 45), (28, 52), (30, 54)])
def test_bass_moves_to_the_octave_that_sounds(sounding: int, written: int) -> None:
    notes = [note(written, program=BASS)]
    levels = measure_partials(notes, sound_of([note(sounding)], 1.0).low_band)
    assert pitches(correct_bass_octaves(notes, levels)) == [sounding]


def test_bass_stays_where_nothing_sounds_below_it() -> None:
    notes = [note(52, program=BASS)]
    levels = measure_partials(notes, sound_of([note(52)], 1.0).low_band)
    assert pitches(correct_bass_octaves(notes, levels)) == [52]


def test_bass_without_a_recording_moves_down_one_octave() -> None:
    notes = [note(52, program=BASS), note(52, program=0)]
    assert pitches(correct_bass_octaves(notes, None)) == [40, 52]


def test_bass_stays_above_the_lowest_string() -> None:
    # 30 - 12 = 18 is below B0 (23).
    assert pitches(correct_bass_octaves([note(30, program=BASS)], None)) == [30]


def test_part_moves_where_many_of_its_notes_sound_lower() -> None:
    written = [note(72 - i, i, i + 0.9, program=BASSOON) for i in range(5)]
    played = [note(60 - i, i, i + 0.9) for i in range(5)]
    levels = measure_partials(written, sound_of(played, 5.0).low_band)
    assert pitches(correct_part_octaves(written, levels)) == [60, 59, 58, 57, 56]


def test_part_stays_where_few_of_its_notes_sound_lower() -> None:
    written = [note(72 - i, i, i + 0.9, program=BASSOON) for i in range(5)]
    played = [note(60, 0.0, 0.9), *written[1:]]
    levels = measure_partials(written, sound_of(played, 5.0).low_band)
    assert correct_part_octaves(written, levels) == tuple(written)


def test_part_stays_where_another_note_explains_the_lower_octave() -> None:
    written = [note(72 - i, i, i + 0.9, program=BASSOON) for i in range(5)]
    below = [note(60 - i, i, i + 0.9, program=0) for i in range(5)]
    levels = measure_partials([*written, *below], sound_of([*written, *below], 5.0).low_band)
    assert correct_part_octaves([*written, *below], levels) == (*written, *below)


def test_notes_outside_the_sound_have_no_evidence() -> None:
    notes = [note(60, 50.0, 51.0, program=BASSOON), note(52, 0.0, 1.0, program=BASS)]
    levels = measure_partials(notes, sound_of([], 0.0).low_band)
    assert correct_part_octaves(notes, levels) == tuple(notes)
    assert pitches(correct_bass_octaves(notes, levels)) == [60, 40]


def test_notes_above_the_low_band_stay() -> None:
    notes = [note(96 + i, i, i + 0.9, program=BASSOON) for i in range(30)]
    levels = measure_partials(notes, sound_of([note(60, 0.0, 30.0)], 30.0).low_band)
    assert correct_part_octaves(notes, levels) == tuple(notes)


def test_sound_starts_where_the_range_starts() -> None:
    notes = [note(52, 30.0, 31.0, program=BASS)]
    levels = measure_partials(notes, sound_of([note(28)], 1.0).low_band, start=30.0)
    assert pitches(correct_bass_octaves(notes, levels)) == [28]
