"""Beats halfway between the beats are recognized."""

import numpy as np

from mt3_model.rhythm.onset_strength import NoteArrays
from mt3_model.rhythm.phase import accent, settle_phase
from tests.unit.rhythm.music import beat_times, chords, place, rock


def test_beats_stay_where_bass_and_snares_are():
    beats = beat_times(41, tempo=100)
    notes = NoteArrays.from_notes(place(beats, [*rock(10), *chords(10, 4)]).notes)
    assert accent(notes, beats, 1 / 2) > 0
    np.testing.assert_array_equal(settle_phase(notes, beats), beats)


def test_beats_halfway_are_moved():
    beats = beat_times(41, tempo=100)
    notes = NoteArrays.from_notes(place(beats, [*rock(10), *chords(10, 4)]).notes)
    halfway = beats[:-1] + np.diff(beats) / 2
    assert accent(notes, halfway, 1 / 2) < 0
    np.testing.assert_allclose(settle_phase(notes, halfway), beats[1:-1])


def test_too_few_notes_move_nothing():
    beats = beat_times(5, tempo=100)
    notes = NoteArrays.from_notes(place(beats, [(0.5, 0.5, 60, 0)]).notes)
    np.testing.assert_array_equal(settle_phase(notes, beats), beats)
