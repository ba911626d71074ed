"""Bars of beats that are known: what divides them and where they begin."""

import numpy as np
import pytest

from mt3_model.notes.time_signature import TimeSignature
from mt3_model.rhythm.bars import find_meter
from mt3_model.rhythm.beat_series import beat_series, rhythm_grid
from mt3_model.rhythm.compound import compound_probability
from mt3_model.rhythm.onset_strength import NoteArrays
from tests.unit.rhythm.music import KICK, SNARE, beat_times, chords, place

BEATS = beat_times(49, tempo=100)
FIDDLE, BASS, FLUTE = 40, 33, 73


def arrays(events):
    return NoteArrays.from_notes(place(BEATS, events).notes)


def melody(*places, length=0.2):
    """Return a note at each place of each beat."""
    return [(beat + at, length, 67 + beat % 5, FIDDLE) for beat in range(48) for at in places]


@pytest.mark.parametrize(
    ("places", "is_compound"),
    [
        ((0, 1 / 3, 2 / 3), True),
        ((0, 1 / 2), False),
        ((0, 1 / 4, 1 / 2, 3 / 4), False),
        ((0, 3 / 4), False),
        ((0, 2 / 3), False),
    ],
    ids=["thirds", "halves", "quarters", "dotted", "swung"],
)
def test_beats_divide_into_three_where_notes_begin_at_thirds(places, is_compound):
    assert (compound_probability(arrays(melody(*places)), BEATS) > 0.5) is is_compound


def test_sixteenths_in_some_beats_of_six_eight_do_not_hide_the_thirds():
    sixths = [note for note in melody(*(i / 6 for i in range(6))) if note[0] % 4 < 1]
    thirds = [note for note in melody(0, 1 / 3, 2 / 3) if note[0] % 4 >= 1]
    assert compound_probability(arrays([*sixths, *thirds]), BEATS) > 0.5


def test_beats_without_notes_inside_are_not_compound():
    assert compound_probability(arrays(melody(0)), BEATS) < 0.5


def test_two_beats_of_kick_and_snare_are_written_in_four():
    drums = [(beat, 0.02, SNARE if beat % 2 else KICK, None) for beat in range(48)]
    meter = find_meter(arrays([*drums, *melody(0, 1 / 2)]), BEATS)
    assert meter.beats_per_bar == 4
    assert meter.first_downbeat % 2 == 0


def test_a_pickup_moves_the_first_downbeat():
    waltz = [(at + 2, length, pitch, program) for at, length, pitch, program in chords(15, 3)]
    meter = find_meter(arrays([(0, 1, 72, FLUTE), (1, 1, 74, FLUTE), *waltz]), BEATS)
    assert (meter.beats_per_bar, meter.first_downbeat) == (3, 2)


@pytest.mark.parametrize("beats_per_bar", [1, 5, 7, 16])
def test_any_named_time_signature_has_a_first_downbeat(beats_per_bar):
    named = TimeSignature(numerator=beats_per_bar, denominator=4)
    meter = find_meter(arrays(melody(0, 1 / 2)), BEATS, named)
    assert meter.beats_per_bar == beats_per_bar
    assert 0 <= meter.first_downbeat < beats_per_bar
    assert np.isfinite(meter.probability)


def test_notes_held_over_a_beat_make_it_less_fresh():
    fresh = beat_series(arrays([(0, 2.5, 60, BASS), (2, 1, 64, BASS), (4, 1, 64, BASS)]), BEATS)[
        "fresh"
    ]
    assert fresh[1] == 0
    assert 0 < fresh[2] < fresh[4]


def test_the_rhythm_grid_has_a_step_for_each_part_of_a_beat():
    grid = rhythm_grid(arrays([(0.5, 0.2, 72, FLUTE), (1.25, 0.02, SNARE, None)]), BEATS, 4)
    assert grid.shape == (len(BEATS), 20)
    assert np.argwhere(grid).tolist() == [[0, 2], [1, 13]]
