"""An hour of music: one clip, repeated. Its last copy is cleaned up like its second."""

import functools

import numpy as np
import pytest
from msgspec import structs

from mt3_model.notes.note import Note, NoteSequence
from mt3_model.notes.postprocess_option import POSTPROCESS_STEPS
from mt3_model.postprocessing.cleaning import clean_up
from mt3_model.postprocessing.sound import RecordingSound
from mt3_model.spec import MT3
from tests.unit.postprocessing.tones import SAMPLE_RATE, note, sample_notes

pytestmark = pytest.mark.slow
CLIP_SECONDS = 4 * MT3.segment_seconds
COPIES = round(3600 / CLIP_SECONDS)
PIANO, GUITAR, BASS = 0, 24, 33

PLAYED = [
    *(note(pitch, i, i + 0.9) for i in range(8) for pitch in (60 + i, 72)),
    *(note(36 + i, i, i + 0.9, program=BASS) for i in range(0, 8, 2)),
    *(note(38, i + 0.5, i + 0.51, drum=True) for i in range(0, 8, 2)),
]


def written() -> list[Note]:
    """The clip as the model writes it: bass an octave high, a double, a slip of one note."""
    notes = [
        structs.replace(each, pitch=each.pitch + 12 * (each.program == BASS), confidence=0.9)
        for each in PLAYED
    ]
    notes[0] = structs.replace(notes[0], program=GUITAR)
    return [*notes, structs.replace(notes[5], program=GUITAR)]


def moved(each: Note, seconds: float) -> Note:
    return structs.replace(
        each, start_time=each.start_time + seconds, end_time=each.end_time + seconds
    )


@functools.cache
def cleaned_hour() -> NoteSequence:
    clip = sample_notes([n for n in PLAYED if not n.is_drum], CLIP_SECONDS)
    sound = RecordingSound(SAMPLE_RATE)
    for _ in range(COPIES):
        for segment in clip.reshape(-1, MT3.segment_samples):
            sound.add_samples(segment)
    notes = tuple(moved(each, i * CLIP_SECONDS) for i in range(COPIES) for each in written())
    return clean_up(
        NoteSequence(notes=notes, total_time=COPIES * CLIP_SECONDS), POSTPROCESS_STEPS, sound=sound
    )


def notes_of_copy(number: int) -> list[Note]:
    begin = number * CLIP_SECONDS
    return [
        moved(each, -begin)
        for each in cleaned_hour()
        if begin - 0.01 <= each.start_time < begin + CLIP_SECONDS - 0.01
    ]


def test_the_last_copy_has_the_notes_of_the_second() -> None:
    second, last = notes_of_copy(1), notes_of_copy(COPIES - 1)
    assert len(second) == len(PLAYED)
    assert {each.program for each in second} == {PIANO, BASS}
    for before, after in zip(second, last, strict=True):
        assert (after.pitch, after.program, after.is_drum, after.confidence) == (
            before.pitch, before.program, before.is_drum, before.confidence,
        )  # fmt: skip
        assert np.allclose(
            (after.start_time, after.end_time), (before.start_time, before.end_time), atol=1e-6
        )


def test_velocities_of_the_last_copy_are_those_of_the_second() -> None:
    # They are estimated in blocks of 30 s, so copies lie differently in their blocks.
    pairs = zip(notes_of_copy(1), notes_of_copy(COPIES - 1), strict=True)
    assert max(abs(before.velocity - after.velocity) for before, after in pairs) <= 3
