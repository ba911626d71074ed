import pytest

from mt3_model.evaluation.note_metrics import (
    ClipNotes,
    Score,
    score_drum_groups,
    score_instruments,
    score_onsets,
    score_onsets_and_offsets,
)
from mt3_model.notes.note import Note, NoteSequence


def note(pitch: int, start: float, end: float, program: int = 0) -> Note:
    return Note(pitch=pitch, start_time=start, end_time=end, velocity=90, program=program)


def hit(key: int, start: float) -> Note:
    return Note(pitch=key, start_time=start, end_time=start + 0.01, velocity=90, is_drum=True)


def clip(*notes: Note) -> ClipNotes:
    total_time = max((n.end_time for n in notes), default=0.0)
    return ClipNotes.from_note_sequence(NoteSequence(notes=notes, total_time=total_time))


def test_onset_within_50_ms_is_right() -> None:
    reference = clip(note(60, 1.0, 2.0))
    assert score_onsets(reference.pitched, clip(note(60, 1.04, 1.5)).pitched).f1 == 1.0
    assert score_onsets(reference.pitched, clip(note(60, 1.06, 2.0)).pitched).f1 == 0.0


def test_another_pitch_is_wrong() -> None:
    reference, estimate = clip(note(60, 1.0, 2.0)), clip(note(61, 1.0, 2.0))
    assert score_onsets(reference.pitched, estimate.pitched).f1 == 0.0


def test_offset_tolerance_is_a_fifth_of_the_note() -> None:
    reference = clip(note(60, 1.0, 2.0))
    assert score_onsets_and_offsets(reference.pitched, clip(note(60, 1.0, 2.19)).pitched).f1 == 1.0
    assert score_onsets_and_offsets(reference.pitched, clip(note(60, 1.0, 2.21)).pitched).f1 == 0.0


def test_f1_is_the_harmonic_mean_of_precision_and_recall() -> None:
    # 1 of 2 estimated is right, 1 of 1 reference is found: 2 * 0.5 * 1 / 1.5 = 2/3.
    reference, estimate = clip(note(60, 1.0, 2.0)), clip(note(60, 1.0, 2.0), note(64, 1.0, 2.0))
    score = score_onsets(reference.pitched, estimate.pitched)
    assert (score.precision, score.recall) == (0.5, 1.0)
    assert score.f1 == pytest.approx(2 / 3)


def test_instruments_count_at_their_granularity() -> None:
    # Program 1 heard as 2: another program, the same class.
    reference, estimate = clip(note(60, 1.0, 2.0, 1)), clip(note(60, 1.0, 2.0, 2))
    assert score_instruments(reference, estimate, "full").f1 == 0.0
    assert score_instruments(reference, estimate, "midi_class").f1 == 1.0
    assert score_instruments(reference, estimate, "flat").f1 == 1.0


def test_drums_are_never_matched_with_pitched_notes() -> None:
    reference, estimate = clip(note(36, 1.0, 1.01)), clip(hit(36, 1.0))
    assert score_instruments(reference, estimate, "flat").f1 == 0.0


def test_drums_and_notes_are_counted_together() -> None:
    # 2 of 3 reference notes found, nothing wrong: recall 2/3, F1 0.8.
    reference = clip(note(60, 1.0, 2.0), note(64, 1.0, 2.0), hit(36, 1.0))
    score = score_instruments(reference, clip(note(60, 1.0, 2.0), hit(36, 1.0)), "full")
    assert score.recall == pytest.approx(2 / 3)
    assert score.f1 == pytest.approx(0.8)


@pytest.mark.parametrize(("heard", "f1"), [(35, 1.0), (38, 0.0), (60, 0.0)])
def test_drum_groups_fold_keys_of_one_part_of_the_kit(heard: int, f1: float) -> None:
    assert score_drum_groups(clip(hit(36, 1.0)).drums, clip(hit(heard, 1.0)).drums).f1 == f1


def test_keys_outside_the_kit_are_one_group() -> None:
    assert score_drum_groups(clip(hit(60, 1.0)).drums, clip(hit(70, 1.0)).drums).f1 == 1.0


def test_nothing_estimated_scores_zero() -> None:
    assert score_onsets(clip(note(60, 0.0, 1.0)).pitched, clip().pitched) == Score(
        precision=0.0, recall=0.0, f1=0.0
    )


def test_notes_without_length_are_left_out() -> None:
    assert len(clip(note(60, 1.0, 1.0)).pitched) == 0
