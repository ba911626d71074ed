import dataclasses

import pytest
from msgspec import structs

from mt3_model.notes.instruments_option import parse_instruments
from mt3_model.notes.note import Note, NoteSequence
from mt3_model.notes.postprocess_option import POSTPROCESS_STEPS
from mt3_model.notes.transcription import Transcription, TranscriptionOptions, VelocitySource
from mt3_model.postprocessing.cleaning import clean_up, clean_up_transcription
from tests.unit.export.transcriptions import TRANSCRIPTION
from tests.unit.postprocessing.tones import (
    note,
    sound_of,
)

PIANO, GUITAR, BASS, BASSOON = 0, 24, 33, 70


def sequence(*notes: Note) -> NoteSequence:
    return NoteSequence(notes=notes, total_time=max((n.end_time for n in notes), default=0.0))


def test_no_step_returns_the_very_notes() -> None:
    notes = sequence(note(60, 0.0, 2.0), note(60, 0.0, 1.0, program=BASS))
    assert clean_up(notes, ()) is notes


def test_no_notes_stay_none() -> None:
    assert clean_up(sequence(), POSTPROCESS_STEPS, sound=sound_of([], 0.0)) == sequence()


def test_drums_pass_unchanged() -> None:
    drums = [note(36, i / 10, i / 10 + 0.01, drum=True) for i in range(5)]
    assert clean_up(sequence(*drums), POSTPROCESS_STEPS) == sequence(*drums)


def test_false_drums_are_left_out_unless_drums_are_named() -> None:
    notes = sequence(
        *(note(60, i, i + 0.9) for i in range(9)),
        structs.replace(note(36, 5.0, 5.01, drum=True), confidence=0.5),
    )
    assert not any(n.is_drum for n in clean_up(notes, ("false_drums",)))
    named = parse_instruments(("piano", "drums"))
    assert any(n.is_drum for n in clean_up(notes, ("false_drums",), named=named))


def test_usual_programs_leave_named_instruments() -> None:
    notes = sequence(note(60, program=16))
    assert [n.program for n in clean_up(notes, ("usual_programs",))] == [19]
    named = parse_instruments(("16",))
    assert [n.program for n in clean_up(notes, ("usual_programs",), named=named)] == [16]


def test_each_step_runs_alone() -> None:
    notes = sequence(note(52, 0.0, 1.0, program=BASS), note(52, 0.01, 2.0, program=GUITAR))
    moved = clean_up(notes, ("bass_octave",))
    assert [n.pitch for n in moved] == [40, 52]
    merged = clean_up(notes, ("duplicates",))
    assert [(n.pitch, n.program, n.end_time) for n in merged] == [(52, BASS, 2.0)]
    assert [n.program for n in clean_up(notes, ("ensemble",))] == [BASS, GUITAR]


def test_part_octave_needs_the_sound() -> None:
    written = sequence(*(note(72 - i, i, i + 0.9, program=BASSOON) for i in range(5)))
    played = sound_of([note(60 - i, i, i + 0.9) for i in range(5)], 5.0)
    assert next(n.pitch for n in clean_up(written, ("part_octave",), sound=played)) == 60
    assert next(n.pitch for n in clean_up(written, ("part_octave",))) == 72


def test_a_note_moved_onto_another_ends_the_earlier() -> None:
    notes = sequence(note(52, 1.0, 2.0, program=BASS), note(40, 0.0, 3.0, program=BASS))
    moved = clean_up(notes, ("bass_octave",), sound=sound_of([note(40, 0.0, 3.0)], 3.0))
    assert [(n.pitch, n.start_time, n.end_time) for n in moved] == [(40, 0.0, 1.0), (40, 1.0, 2.0)]


def test_instruments_are_numbered_by_first_ending() -> None:
    notes = sequence(
        *(note(60 + i, i, i + 1.0, program=8 * i) for i in range(11)), note(36, drum=True)
    )
    numbers = {n.program: n.instrument for n in clean_up(notes, ("duplicates",)) if not n.is_drum}
    assert list(numbers.values()) == [0, 1, 2, 3, 4, 5, 6, 7, 8, 10, 11]


@pytest.mark.parametrize(
    ("postprocess", "source", "velocity"),
    [
        ("default", "estimated", 80),
        ("velocity", "estimated", 80),
        ("duplicates", "constant", 90),
        ("none", "constant", 90),
    ],
)
def test_transcription_says_where_velocities_come_from(
    postprocess: str, source: str, velocity: int
) -> None:
    written = transcription(postprocess, velocity="constant")
    cleaned = clean_up_transcription(written, sound_of([note(60)], 1.0))
    assert (cleaned.velocity, cleaned.notes[0].velocity) == (source, velocity)


def test_velocities_of_a_model_with_dynamics_stay() -> None:
    written = transcription("default", velocity="model")
    cleaned = clean_up_transcription(written, sound_of([note(60)], 1.0))
    assert (cleaned.velocity, cleaned.notes[0].velocity) == ("model", 90)


def test_confidence_of_a_model_without_a_fit_stays() -> None:
    written = transcription("confidence", model="ismir2021", confidence=0.9)
    assert clean_up_transcription(written, None).notes[0].confidence == 0.9
    fitted = transcription("confidence", confidence=0.9)
    assert clean_up_transcription(fitted, None).notes[0].confidence != 0.9


def transcription(
    postprocess: str,
    *,
    velocity: VelocitySource = "constant",
    model: str = "mt3",
    confidence: float | None = None,
) -> Transcription:
    return dataclasses.replace(
        TRANSCRIPTION,
        notes=sequence(structs.replace(note(60), confidence=confidence)),
        options=TranscriptionOptions(postprocess=postprocess),
        model=dataclasses.replace(TRANSCRIPTION.model, name=model),
        velocity=velocity,
    )
