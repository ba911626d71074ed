"""Matched notes -> the steadiness of the instruments, and the accuracy of notes at segment borders.

Both are about the borders of the model's segments, not about single notes, so they are reported in
addition to the field's metrics.
"""

import collections
import dataclasses
import itertools

import numpy as np
from jaxtyping import Bool, Float64

from mt3_model.evaluation.note_metrics import NoteArray, Score, match_onsets
from mt3_model.spec import MT3

BORDER_SECONDS = 0.1
"""Distance up to which an onset is near a border."""
SEGMENT_SECONDS = MT3.segment_seconds
"""Distance of the borders of `mt3`'s segments."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Continuity:
    """The steadiness of an estimate's instruments, and its onset scores at and off borders."""

    flicker_per_minute: float
    """Changes of the estimated program between successive matched notes of one reference program,
    summed over programs, per minute of the reference."""
    leakage: float
    """Share of matched notes that are not on the estimated program that has most of their
    reference program's, in [0, 1]."""
    near_borders: Score
    """Onset scores of the notes within 100 ms of a segment border."""
    elsewhere: Score
    """Onset scores of all other notes."""


def score_continuity(reference: NoteArray, estimate: NoteArray) -> Continuity:
    """Score the pitched notes of one clip that has some in the reference."""
    matches = match_onsets(reference, estimate)
    programs = collections.defaultdict[int, list[tuple[float, int, int]]](list)
    for expected, found in matches:
        programs[int(reference.programs[expected])].append(
            (
                float(reference.start_times[expected]),
                int(reference.pitches[expected]),
                int(estimate.programs[found]),
            )
        )
    changes = strays = 0
    for matched in programs.values():
        found_programs = [program for _, _, program in sorted(matched)]
        changes += sum(a != b for a, b in itertools.pairwise(found_programs))
        strays += len(matched) - max(collections.Counter(found_programs).values())
    minutes = float(reference.end_times.max(initial=0.0)) / 60.0
    near_reference, near_estimate = _near_border(reference), _near_border(estimate)
    return Continuity(
        flicker_per_minute=changes / minutes if minutes else 0.0,
        leakage=strays / len(matches) if matches else 0.0,
        near_borders=_score(matches, near_reference, near_estimate),
        elsewhere=_score(matches, ~near_reference, ~near_estimate),
    )


def _near_border(notes: NoteArray) -> Bool[np.ndarray, " N"]:
    """Return which onsets are near a border; a recording's start and end do not count."""
    borders: Float64[np.ndarray, " N"] = np.rint(notes.start_times / SEGMENT_SECONDS)
    distances = np.abs(notes.start_times - borders * SEGMENT_SECONDS)
    return (borders > 0) & (distances <= BORDER_SECONDS)


def _score(
    matches: list[tuple[int, int]],
    reference: Bool[np.ndarray, " N"],
    estimate: Bool[np.ndarray, " M"],
) -> Score:
    """Score the chosen notes: recall over those of the reference, precision over the estimate's."""
    recalled = sum(bool(reference[expected]) for expected, _ in matches)
    right = sum(bool(estimate[found]) for _, found in matches)
    return Score.from_shares(
        precision=right / estimate.sum() if estimate.any() else 0.0,
        recall=recalled / reference.sum() if reference.any() else 0.0,
    )
