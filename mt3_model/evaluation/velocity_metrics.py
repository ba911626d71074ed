"""Compare the velocities of matched notes.

F1 is mir_eval's for transcription with velocity, which first fits a line from the estimated to the
reference velocities, so that only their relative changes count. It rewards every note that is
found, and even constant velocities agree with many, so the correlation is reported as well.
"""

import dataclasses

import mir_eval.transcription_velocity
import numpy as np
from jaxtyping import Int64

from mt3_model.evaluation.note_metrics import NoteArray, Score, match_onsets
from mt3_model.notes.pitch import pitches_to_hz

MIN_NOTES = 8
"""Number of matched notes of a program below which its correlation is meaningless."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class VelocityAgreement:
    """The agreement of velocities of one clip's pitched notes."""

    score: Score
    """Onset, pitch and velocity; the velocity within a tenth of the reference's range."""
    correlation: float | None
    """Pearson's correlation within each reference program, averaged by matched notes; 0 where the
    estimate is constant; None if no program has enough notes of different velocities."""


def score_velocities(reference: NoteArray, estimate: NoteArray) -> VelocityAgreement:
    """Compare the velocities of one clip's pitched notes.

    Source: mir_eval.transcription_velocity, without offsets.
    """
    matches = match_onsets(reference, estimate)
    found = np.array([estimate.velocities[j] for _, j in matches], np.float64)
    expected = np.array([reference.velocities[i] for i, _ in matches], np.float64)
    programs = np.array([reference.programs[i] for i, _ in matches], np.int64)
    return VelocityAgreement(
        score=_score(reference, estimate)
        if matches
        else Score.from_shares(precision=0.0, recall=0.0),
        correlation=_correlate(expected, found, programs),
    )


def _score(reference: NoteArray, estimate: NoteArray) -> Score:
    precision, recall, _, _ = mir_eval.transcription_velocity.precision_recall_f1_overlap(
        np.stack([reference.start_times, reference.end_times], axis=1),
        pitches_to_hz(reference.pitches),
        reference.velocities.astype(np.float64),
        np.stack([estimate.start_times, estimate.end_times], axis=1),
        pitches_to_hz(estimate.pitches),
        estimate.velocities.astype(np.float64),
        # None ignores offsets, as mir_eval documents; its type annotation does not allow it.
        offset_ratio=None,  # pyright: ignore[reportArgumentType]
    )
    return Score.from_shares(precision=float(precision), recall=float(recall))


def _correlate(
    expected: np.ndarray, found: np.ndarray, programs: Int64[np.ndarray, " N"]
) -> float | None:
    weights: list[int] = []
    correlations: list[float] = []
    for program in np.unique(programs):
        a, b = expected[programs == program], found[programs == program]
        if len(a) >= MIN_NOTES and a.std() > 0:
            weights.append(len(a))
            correlations.append(float(np.corrcoef(a, b)[0, 1]) if b.std() > 0 else 0.0)
    return float(np.average(correlations, weights=weights)) if weights else None
