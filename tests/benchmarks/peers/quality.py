"""Score a MIDI file by F1 (`mt3_model.evaluation`): every speed is shown with its quality.

The reference belongs to the recording as it is. Where the benchmark cuts or repeats the recording,
the reference is cut and repeated with it: copies one recording's length apart, notes that begin
after the end left out, notes that cross an end shortened to it.
"""

import dataclasses
import math
from pathlib import Path

import numpy as np

from mt3_model.evaluation.datasets import read_midi
from mt3_model.evaluation.note_metrics import (
    ClipNotes,
    NoteArray,
    score_instruments,
    score_onsets,
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Quality:
    """Scores of one system's notes; None without a reference."""

    notes: int
    """Number of notes, drums included."""
    onset_f1: float | None
    """Onset and pitch of pitched notes, whatever the instrument."""
    full_f1: float | None
    """Onset, pitch, offset and program, with drums."""


def find_reference(recording: Path, folder: Path | None) -> Path | None:
    """Return the recording's MIDI file in the folder, or beside it; None if there is none."""
    places = [recording.parent] if folder is None else [folder]
    candidates = (place / (recording.stem + suffix) for place in places for suffix in _SUFFIXES)
    return next((path for path in candidates if path.is_file()), None)


_SUFFIXES = (".mid", ".midi")


def judge(midi: Path, reference: ClipNotes | None) -> Quality:
    """Score a system's MIDI file."""
    found = read_midi(midi, sustain=True)
    notes = len(found.pitched) + len(found.drums)
    if reference is None:
        return Quality(notes=notes, onset_f1=None, full_f1=None)
    return Quality(
        notes=notes,
        onset_f1=score_onsets(reference.pitched, found.pitched).f1,
        full_f1=score_instruments(reference, found, "full").f1,
    )


def read_reference(midi: Path, recorded_seconds: float, seconds: float) -> ClipNotes:
    """Read the reference of ``recorded_seconds``, cut or repeated to ``seconds``."""
    whole = read_midi(midi, sustain=True)
    if seconds == recorded_seconds:
        return whole
    return ClipNotes(
        pitched=_fit(whole.pitched, recorded_seconds, seconds),
        drums=_fit(whole.drums, recorded_seconds, seconds),
    )


def _fit(notes: NoteArray, recorded_seconds: float, seconds: float) -> NoteArray:
    starts_of_copies = np.arange(math.ceil(seconds / recorded_seconds)) * recorded_seconds
    kept = notes.where(notes.start_times < recorded_seconds)
    begin = (starts_of_copies[:, None] + kept.start_times).ravel()
    ends = np.minimum(kept.end_times, recorded_seconds)
    end = np.minimum((starts_of_copies[:, None] + ends).ravel(), seconds)
    copies = len(starts_of_copies)
    return NoteArray(
        start_times=begin,
        end_times=end,
        pitches=np.tile(kept.pitches, copies),
        velocities=np.tile(kept.velocities, copies),
        programs=np.tile(kept.programs, copies),
    ).where(begin < seconds)
