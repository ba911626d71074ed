import pytest

from mt3_model.evaluation.frame_metrics import score_frames
from mt3_model.evaluation.note_metrics import NoteArray
from mt3_model.notes.note import Note


def notes(*spans: tuple[float, float], velocity: int = 90) -> NoteArray:
    return NoteArray.from_notes(
        [Note(pitch=60, start_time=start, end_time=end, velocity=velocity) for start, end in spans]
    )


def test_half_of_the_frames_is_half_of_the_recall() -> None:
    # 1.6 s are 100 frames of 62.5 per second; 50 of them are found: F1 = 2 * 1 * 0.5 / 1.5.
    score = score_frames(notes((0.0, 1.6)), notes((0.0, 0.8)))
    assert (score.precision, score.recall) == (1.0, 0.5)
    assert score.f1 == pytest.approx(2 / 3)


def test_short_note_counts_as_50_ms() -> None:
    assert score_frames(notes((0.0, 0.05)), notes((0.0, 0.01))).f1 == 1.0


def test_quiet_reference_cells_can_be_left_out() -> None:
    quiet = notes((0.0, 1.6), velocity=30)
    assert score_frames(quiet, notes((0.0, 1.6))).f1 == 1.0
    assert score_frames(quiet, notes((0.0, 1.6)), threshold=30).f1 == 0.0


def test_nothing_estimated_scores_zero() -> None:
    assert score_frames(notes((0.0, 1.0)), notes()).f1 == 0.0
