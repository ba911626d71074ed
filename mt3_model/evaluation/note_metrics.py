"""Compare two transcriptions of one clip note by note, with mir_eval.

The metrics are those of the MT3 paper, section 4. An estimated note is correct if its onset is
within 50 ms of the reference's and its pitch is equal. With offsets, its end must also be within
50 ms or 20 % of the note's length, whichever is more. Multi-instrument F1 compares onset, pitch and
offset within each program (at three granularities) and onset and key of drums, counted together.
Drum groups map the keys to kick, snare, hat, tom, cymbal and other.
Source: magenta/mt3 fa04532, metrics.py ``_program_aware_note_scores``, ``transcription_metrics``.

Notes are matched by mir_eval (a maximum one-to-one matching).
"""

import dataclasses
import functools
from collections.abc import Mapping
from types import MappingProxyType

import mir_eval.transcription
import mir_eval.util
import numpy as np
from jaxtyping import Bool, Float64, Int64

from mt3_model.codec.program import map_program
from mt3_model.notes.general_midi import DRUM_GROUPS
from mt3_model.notes.note import Note, NoteSequence
from mt3_model.notes.pitch import pitches_to_hz
from mt3_model.spec import ProgramGranularity

ONSET_TOLERANCE_SECONDS = 0.05
"""Source: mir_eval.transcription, default; MIREX note tracking."""
OFFSET_MIN_TOLERANCE_SECONDS = 0.05
OFFSET_RATIO = 0.2
"""A share of the reference note's length; the larger tolerance applies. Source: as above."""
PITCH_TOLERANCE_CENTS = 50.0
"""Half a semitone, so MIDI pitches match only themselves."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class NoteArray:
    """Notes as arrays, one per field, as mir_eval takes them."""

    start_times: Float64[np.ndarray, " N"]
    """Seconds."""
    end_times: Float64[np.ndarray, " N"]
    """Seconds."""
    pitches: Int64[np.ndarray, " N"]
    velocities: Int64[np.ndarray, " N"]
    programs: Int64[np.ndarray, " N"]

    @staticmethod
    def from_notes(notes: list[Note]) -> "NoteArray":
        """Convert notes to arrays."""
        return NoteArray(
            start_times=np.array([note.start_time for note in notes], np.float64),
            end_times=np.array([note.end_time for note in notes], np.float64),
            pitches=np.array([note.pitch for note in notes], np.int64),
            velocities=np.array([note.velocity for note in notes], np.int64),
            programs=np.array([note.program for note in notes], np.int64),
        )

    def __len__(self) -> int:
        return len(self.start_times)

    def where(self, mask: Bool[np.ndarray, " N"]) -> "NoteArray":
        """Return the notes for which the mask is true."""
        return NoteArray(
            start_times=self.start_times[mask],
            end_times=self.end_times[mask],
            pitches=self.pitches[mask],
            velocities=self.velocities[mask],
            programs=self.programs[mask],
        )


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class ClipNotes:
    """The pitched notes and the drum notes of one clip."""

    pitched: NoteArray
    drums: NoteArray

    @staticmethod
    def from_note_sequence(notes: NoteSequence) -> "ClipNotes":
        """Separate pitched notes and drums, without notes of length 0."""
        nonempty = [note for note in notes.notes if note.end_time > note.start_time]
        return ClipNotes(
            pitched=NoteArray.from_notes([note for note in nonempty if not note.is_drum]),
            drums=NoteArray.from_notes([note for note in nonempty if note.is_drum]),
        )


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Score:
    """Precision, recall and F1 of an estimate, each in [0, 1]."""

    precision: float
    recall: float
    f1: float

    @staticmethod
    def from_counts(*, matched: int, reference: int, estimate: int) -> "Score":
        """Compute the scores from counts; a ratio with a denominator of 0 is 0."""
        precision = matched / estimate if estimate else 0.0
        recall = matched / reference if reference else 0.0
        return Score.from_shares(precision=precision, recall=recall)

    @staticmethod
    def from_shares(*, precision: float, recall: float) -> "Score":
        """Compute F1, the harmonic mean; 0 if both are 0."""
        f1 = float(mir_eval.util.f_measure(precision, recall)) if precision + recall else 0.0
        return Score(precision=precision, recall=recall, f1=f1)


def score_onsets(reference: NoteArray, estimate: NoteArray) -> Score:
    """Compare onset and pitch."""
    return _score(_count_matches(reference, estimate, offsets=False), reference, estimate)


def score_onsets_and_offsets(reference: NoteArray, estimate: NoteArray) -> Score:
    """Compare onset, pitch and offset."""
    return _score(_count_matches(reference, estimate, offsets=True), reference, estimate)


def score_drum_groups(reference: NoteArray, estimate: NoteArray) -> Score:
    """Compare onset and drum group."""
    return score_onsets(_group_drums(reference), _group_drums(estimate))


def score_instruments(
    reference: ClipNotes, estimate: ClipNotes, granularity: ProgramGranularity
) -> Score:
    """Compare onset, pitch and offset within each program, and onset and key of drums."""
    matched = _count_matches(reference.drums, estimate.drums, offsets=False)
    reference_programs = _map_programs(reference.pitched, granularity)
    estimate_programs = _map_programs(estimate.pitched, granularity)
    for program in np.union1d(reference_programs, estimate_programs):
        matched += _count_matches(
            reference.pitched.where(reference_programs == program),
            estimate.pitched.where(estimate_programs == program),
            offsets=True,
        )
    return Score.from_counts(
        matched=matched,
        reference=len(reference.pitched) + len(reference.drums),
        estimate=len(estimate.pitched) + len(estimate.drums),
    )


def match_onsets(reference: NoteArray, estimate: NoteArray) -> list[tuple[int, int]]:
    """Return the positions of matched notes: onset and pitch, whatever the offset and program."""
    return _match(reference, estimate, offsets=False)


def _count_matches(reference: NoteArray, estimate: NoteArray, *, offsets: bool) -> int:
    return len(_match(reference, estimate, offsets=offsets))


def _match(reference: NoteArray, estimate: NoteArray, *, offsets: bool) -> list[tuple[int, int]]:
    if not len(reference) or not len(estimate):
        return []
    matching = mir_eval.transcription.match_notes(
        np.stack([reference.start_times, reference.end_times], axis=1),  # [N, 2]
        pitches_to_hz(reference.pitches),
        np.stack([estimate.start_times, estimate.end_times], axis=1),
        pitches_to_hz(estimate.pitches),
        onset_tolerance=ONSET_TOLERANCE_SECONDS,
        pitch_tolerance=PITCH_TOLERANCE_CENTS,
        # None ignores offsets, as mir_eval documents; its type annotation does not allow it.
        offset_ratio=OFFSET_RATIO if offsets else None,  # pyright: ignore[reportArgumentType]
        offset_min_tolerance=OFFSET_MIN_TOLERANCE_SECONDS,
    )
    return [(int(expected), int(found)) for expected, found in matching]


def _score(matched: int, reference: NoteArray, estimate: NoteArray) -> Score:
    return Score.from_counts(matched=matched, reference=len(reference), estimate=len(estimate))


def _map_programs(notes: NoteArray, granularity: ProgramGranularity) -> Int64[np.ndarray, " N"]:
    return np.array([map_program(int(p), granularity) for p in notes.programs], np.int64)


def _group_drums(drums: NoteArray) -> NoteArray:
    """Replace each drum key with the number of its group."""
    groups = [_drum_groups().get(int(key), 0) for key in drums.pitches]
    return dataclasses.replace(drums, pitches=np.array(groups, np.int64))


@functools.cache
def _drum_groups() -> Mapping[int, int]:
    """Return the group number of each key, from 1; keys not listed belong to group 0."""
    return MappingProxyType(
        {key: number for number, keys in enumerate(DRUM_GROUPS.values(), start=1) for key in keys}
    )
