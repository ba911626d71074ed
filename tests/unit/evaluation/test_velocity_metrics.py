"""Checks velocity F1 and correlation on notes whose answer is known."""

import pytest

from mt3_model.evaluation.note_metrics import NoteArray
from mt3_model.evaluation.velocity_metrics import score_velocities
from mt3_model.notes.note import Note


def notes(velocities: list[int], *, program: int = 0, first_pitch: int = 60) -> list[Note]:
    return [
        Note(
            pitch=first_pitch + i,
            start_time=float(i),
            end_time=i + 0.5,
            velocity=velocity,
            program=program,
        )
        for i, velocity in enumerate(velocities)
    ]


def array(*groups: list[Note]) -> NoteArray:
    return NoteArray.from_notes([each for group in groups for each in group])


RISING = [40, 50, 60, 70, 80, 90, 100, 110]


def test_scale_and_offset_do_not_matter() -> None:
    reference, estimate = array(notes(RISING)), array(notes([v // 2 + 10 for v in RISING]))
    agreement = score_velocities(reference, estimate)
    assert agreement.score.f1 == 1.0
    assert agreement.correlation == pytest.approx(1.0)


def test_constant_velocities_agree_with_the_middle_only() -> None:
    agreement = score_velocities(array(notes(RISING)), array(notes([127] * 8)))
    # The fitted line is the mean, 75; within a tenth of 70 lie 70 and 80.
    assert agreement.score.f1 == pytest.approx(2 / 8)
    assert agreement.correlation == 0.0


def test_correlation_is_within_programs() -> None:
    quiet, loud = [40, 41] * 4, [100, 101] * 4
    reference = array(notes(quiet), notes(loud, program=40, first_pitch=80))
    # Program 0 in the right order, program 40 in the opposite one.
    estimate = array(notes(quiet), notes([101, 100] * 4, program=40, first_pitch=80))
    assert score_velocities(reference, estimate).correlation == pytest.approx(0.0)


def test_few_or_no_matches_have_no_correlation() -> None:
    reference = array(notes(RISING[:3]))
    assert score_velocities(reference, array(notes(RISING[:3]))).correlation is None
    agreement = score_velocities(reference, array())
    assert agreement.correlation is None
    assert agreement.score.f1 == 0.0
