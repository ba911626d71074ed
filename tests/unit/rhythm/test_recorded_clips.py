"""Beats and bars of the notes that the published model wrote for the development clips.

The floors are what was measured (beat F .949, downbeat F .90, 11 of 12 time signatures) less about
what one clip weighs.
"""

import json
import pathlib

import mir_eval.beat
import numpy as np
import pytest

from mt3_model.notes.note import Note, NoteSequence
from mt3_model.rhythm.estimation import estimate_musical_time
from mt3_model.rhythm.warnings import SURE_METER

NOTES = pathlib.Path(__file__).parents[2] / "golden" / "dev_notes.npz"
CLIPS = 12

pytestmark = pytest.mark.shared


def read_notes():
    """Return the NoteSequence of each clip."""
    with np.load(NOTES) as arrays:
        columns = {name: arrays[name].tolist() for name in arrays.files}
    clips = sorted({name.split("/")[0] for name in columns})
    return {clip: to_sequence({k: columns[f"{clip}/{k}"] for k in COLUMNS}) for clip in clips}


COLUMNS = ("onset", "offset", "pitch", "velocity", "program", "is_drum")


def to_sequence(columns):
    notes = tuple(
        Note(
            start_time=onset, end_time=offset, pitch=pitch, velocity=velocity, program=program,
            is_drum=is_drum,
        )
        for onset, offset, pitch, velocity, program, is_drum in zip(*columns.values(), strict=True)
    )  # fmt: skip
    return NoteSequence(notes=notes, total_time=max(note.end_time for note in notes))


@pytest.fixture(scope="module")
def estimates():
    found = {clip: estimate_musical_time(notes) for clip, notes in read_notes().items()}
    assert len(found) == CLIPS
    return found


@pytest.fixture(scope="module")
def references(shared_folder):
    return json.loads((shared_folder / "eval" / "dev" / "beats.json").read_text())


def f_measure(reference, estimate):
    return mir_eval.beat.f_measure(np.array(reference), np.array(estimate))


def signature(time):
    return f"{time.time_signature.numerator}/{time.time_signature.denominator}"


def test_beats_are_where_they_were_annotated(estimates, references):
    scores = [f_measure(references[c]["beats"], t.beat_times) for c, t in estimates.items()]
    assert np.mean(scores) >= 0.92


def test_the_tempo_of_every_clip_is_right(estimates, references):
    expected = {c: 60 / np.median(np.diff(references[c]["beats"])) for c in estimates}
    assert {c: time.tempo for c, time in estimates.items()} == pytest.approx(expected, rel=0.04)


def test_bars_begin_where_they_were_annotated(estimates, references):
    scores = [
        f_measure(
            references[clip]["downbeats"],
            [beat for i, beat in enumerate(time.beat_times) if time.is_downbeat(i)],
        )
        for clip, time in estimates.items()
    ]
    assert np.mean(scores) >= 0.82


def test_time_signatures_are_right_or_said_to_be_uncertain(estimates, references):
    wrong = [c for c, t in estimates.items() if signature(t) != references[c]["time_signature"]]
    assert len(wrong) <= 2
    assert all(estimates[clip].meter_confidence < SURE_METER for clip in wrong)
