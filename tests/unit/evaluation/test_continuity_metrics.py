import pytest

from mt3_model.evaluation.continuity_metrics import score_continuity
from mt3_model.evaluation.note_metrics import NoteArray
from mt3_model.notes.note import Note

VIOLIN, STRINGS, PIANO = 40, 48, 0


def notes(*played: tuple[float, int]) -> NoteArray:
    """One note of rising pitch for each onset and program."""
    return NoteArray.from_notes(
        [
            Note(pitch=60 + i, start_time=onset, end_time=onset + 0.5, velocity=90, program=program)
            for i, (onset, program) in enumerate(played)
        ]
    )


def test_program_changes_of_a_part_are_counted_per_minute() -> None:
    reference = notes((0.5, VIOLIN), (1.0, VIOLIN), (3.0, VIOLIN), (29.5, VIOLIN))
    estimate = notes((0.5, VIOLIN), (1.0, STRINGS), (3.0, VIOLIN), (29.5, VIOLIN))
    scores = score_continuity(reference, estimate)
    # 2 changes in 30 s; 1 of 4 notes is outside the part's main program.
    assert (scores.flicker_per_minute, scores.leakage) == (4.0, 0.25)


def test_a_part_under_one_wrong_program_does_not_flicker() -> None:
    reference = notes((0.5, VIOLIN), (0.6, PIANO), (1.0, VIOLIN), (1.1, PIANO))
    estimate = notes((0.5, STRINGS), (0.6, PIANO), (1.0, STRINGS), (1.1, PIANO))
    scores = score_continuity(reference, estimate)
    assert (scores.flicker_per_minute, scores.leakage) == (0.0, 0.0)


def test_notes_near_a_border_are_scored_apart() -> None:
    # Borders at 2.048 and 4.096 s. The start of the recording is none.
    reference = notes((0.0, PIANO), (1.0, PIANO), (2.0, PIANO), (4.19, PIANO))
    estimate = NoteArray.from_notes(
        [
            Note(pitch=60, start_time=0.0, end_time=0.5, velocity=90),
            Note(pitch=61, start_time=1.0, end_time=1.5, velocity=90),
            Note(pitch=62, start_time=2.0, end_time=2.5, velocity=90),
            Note(pitch=70, start_time=4.1, end_time=4.5, velocity=90),
        ]
    )
    scores = score_continuity(reference, estimate)
    assert scores.elsewhere.f1 == 1.0
    assert (scores.near_borders.precision, scores.near_borders.recall) == (0.5, 0.5)


def test_an_empty_estimate_scores_nothing() -> None:
    scores = score_continuity(notes((1.0, PIANO)), notes())
    assert (scores.leakage, scores.elsewhere.f1) == (0.0, pytest.approx(0.0))
