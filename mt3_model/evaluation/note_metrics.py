"""Two transcriptions of one clip -> how many notes they share, with mir_eval as the judge.

The measures of the MT3 paper, section 4: an estimated note is right when its onset is within 50 ms
and its pitch is the reference's; with offsets, when its end is also within 50 ms or 20 % of the
note's length, whichever is more. Multi-instrument F1 asks for onset, pitch and offset within one
program (at three granularities) and for onset and key of drums, all counted together. Drum groups
fold the keys to kick, snare, hat, tom, cymbal and the rest.
Source: magenta/mt3 fa04532, metrics.py ``_program_aware_note_scores``, ``transcription_metrics``.

Matching is mir_eval's (a largest one-to-one matching); nothing of it is written again here.
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
from mt3_model.notes.note import Note, NoteSequence
from mt3_model.spec import ProgramGranularity

ONSET_TOLERANCE_SECONDS = 0.05
"""Source: mir_eval.transcription, default; MIREX note tracking."""
OFFSET_MIN_TOLERANCE_SECONDS = 0.05
OFFSET_RATIO = 0.2
"""Of the reference note's length; the larger tolerance holds. Source: as above."""
PITCH_TOLERANCE_CENTS = 50.0
"""Less than half a semitone: MIDI pitches match only themselves."""

_A4_PITCH, _A4_HZ, _SEMITONES = 69, 440.0, 12

_DRUM_GROUP_KEYS: Mapping[str, tuple[int, ...]] = MappingProxyType(
    {
        "kick": (35, 36),
        "snare": (37, 38, 39, 40),
        "hat": (42, 44, 46),
        "tom": (41, 43, 45, 47, 48, 50),
        "cymbal": (49, 51, 52, 53, 55, 57, 59),
    }
)
"""General MIDI keys of the kit's parts; all others are one group more."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class NoteArray:
    """Notes as columns, for the judge."""

    start_times: Float64[np.ndarray, " N"]
    """Seconds."""
    end_times: Float64[np.ndarray, " N"]
    """Seconds."""
    pitches: Int64[np.ndarray, " N"]
    velocities: Int64[np.ndarray, " N"]
    programs: Int64[np.ndarray, " N"]

    @staticmethod
    def from_notes(notes: list[Note]) -> "NoteArray":
        """Puts notes into columns."""
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
        """Gives the notes that a mask picks."""
        return NoteArray(
            start_times=self.start_times[mask],
            end_times=self.end_times[mask],
            pitches=self.pitches[mask],
            velocities=self.velocities[mask],
            programs=self.programs[mask],
        )


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class ClipNotes:
    """The notes of one clip, drums apart."""

    pitched: NoteArray
    drums: NoteArray

    @staticmethod
    def from_note_sequence(notes: NoteSequence) -> "ClipNotes":
        """Takes the notes that have a length."""
        lasting = [note for note in notes.notes if note.end_time > note.start_time]
        return ClipNotes(
            pitched=NoteArray.from_notes([note for note in lasting if not note.is_drum]),
            drums=NoteArray.from_notes([note for note in lasting if note.is_drum]),
        )


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Score:
    """How well an estimate meets a reference, each number in [0, 1]."""

    precision: float
    recall: float
    f1: float

    @staticmethod
    def from_counts(*, matched: int, reference: int, estimate: int) -> "Score":
        """Counts -> shares; a share of nothing is 0."""
        precision = matched / estimate if estimate else 0.0
        recall = matched / reference if reference else 0.0
        f1 = float(mir_eval.util.f_measure(precision, recall)) if precision + recall else 0.0
        return Score(precision=precision, recall=recall, f1=f1)


def score_onsets(reference: NoteArray, estimate: NoteArray) -> Score:
    """Scores onset and pitch."""
    return _score(_count_matches(reference, estimate, offsets=False), reference, estimate)


def score_onsets_and_offsets(reference: NoteArray, estimate: NoteArray) -> Score:
    """Scores onset, pitch and offset."""
    return _score(_count_matches(reference, estimate, offsets=True), reference, estimate)


def score_drum_groups(reference: NoteArray, estimate: NoteArray) -> Score:
    """Scores onset and the part of the kit."""
    return score_onsets(_group_drums(reference), _group_drums(estimate))


def score_instruments(
    reference: ClipNotes, estimate: ClipNotes, granularity: ProgramGranularity
) -> Score:
    """Scores onset, pitch and offset within each program, with the drums' onsets and keys."""
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


def _count_matches(reference: NoteArray, estimate: NoteArray, *, offsets: bool) -> int:
    if not len(reference) or not len(estimate):
        return 0
    matching = mir_eval.transcription.match_notes(
        np.stack([reference.start_times, reference.end_times], axis=1),  # [N, 2]
        _pitches_to_hz(reference.pitches),
        np.stack([estimate.start_times, estimate.end_times], axis=1),
        _pitches_to_hz(estimate.pitches),
        onset_tolerance=ONSET_TOLERANCE_SECONDS,
        pitch_tolerance=PITCH_TOLERANCE_CENTS,
        # None leaves offsets out; mir_eval's own docstring says so, its default hides it.
        offset_ratio=OFFSET_RATIO if offsets else None,  # pyright: ignore[reportArgumentType]
        offset_min_tolerance=OFFSET_MIN_TOLERANCE_SECONDS,
    )
    return len(matching)


def _score(matched: int, reference: NoteArray, estimate: NoteArray) -> Score:
    return Score.from_counts(matched=matched, reference=len(reference), estimate=len(estimate))


def _pitches_to_hz(pitches: Int64[np.ndarray, " N"]) -> Float64[np.ndarray, " N"]:
    """Gives ``440 * 2 ** ((pitch - 69) / 12)``."""
    return _A4_HZ * 2.0 ** ((pitches - _A4_PITCH) / _SEMITONES)


def _map_programs(notes: NoteArray, granularity: ProgramGranularity) -> Int64[np.ndarray, " N"]:
    return np.array([map_program(int(p), granularity) for p in notes.programs], np.int64)


def _group_drums(drums: NoteArray) -> NoteArray:
    """Puts the number of its group in the place of each key."""
    groups = [_drum_groups().get(int(key), 0) for key in drums.pitches]
    return dataclasses.replace(drums, pitches=np.array(groups, np.int64))


@functools.cache
def _drum_groups() -> Mapping[int, int]:
    """Key -> group number from 1 up; keys outside belong to 0."""
    return MappingProxyType(
        {
            key: number
            for number, keys in enumerate(_DRUM_GROUP_KEYS.values(), start=1)
            for key in keys
        }
    )
