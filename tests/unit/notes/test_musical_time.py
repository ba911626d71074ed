"""Beats and seconds are converted into one another; meters count their beats."""

import numpy as np
import pytest

from mt3_model.notes.beat_positions import beats_at, times_at
from mt3_model.notes.musical_time import MusicalTime, TimeSignature


def musical_time(beat_times, *, numerator=4, denominator=4, first_downbeat=0):
    return MusicalTime(
        beat_times=tuple(float(time) for time in beat_times),
        time_signature=TimeSignature(numerator=numerator, denominator=denominator),
        first_downbeat=first_downbeat,
        key=None,
        tempo_confidence=1.0,
        meter_confidence=1.0,
    )


def test_positions_are_linear_between_beats_and_continue_beyond_them():
    time = musical_time([1.0, 2.0, 4.0])
    np.testing.assert_allclose(beats_at(time, np.array([0.0, 1.5, 3.0, 6.0])), [-1, 0.5, 1.5, 3])


def test_times_at_undoes_beats_at():
    time = musical_time([0.2, 0.7, 1.3, 1.8, 2.2])
    seconds = np.linspace(-1, 4, 101)
    np.testing.assert_allclose(times_at(time, beats_at(time, seconds)), seconds, atol=1e-12)


@pytest.mark.parametrize(
    ("numerator", "denominator", "beats", "quarters"),
    [(4, 4, 4, 1), (3, 4, 3, 1), (2, 2, 2, 2), (6, 8, 2, 1.5), (12, 8, 4, 1.5), (3, 8, 3, 0.5)],
)
def test_beats_of_a_bar(numerator, denominator, beats, quarters):
    signature = TimeSignature(numerator=numerator, denominator=denominator)
    assert (signature.beats_per_bar, signature.quarters_per_beat) == (beats, quarters)


def test_downbeats_repeat_from_the_first():
    time = musical_time([0, 1, 2, 3, 4, 5], numerator=3, first_downbeat=1)
    assert [time.is_downbeat(beat) for beat in range(6)] == [False, True, False, False, True, False]


def test_tempo_is_the_median():
    assert musical_time([0, 0.5, 1.0, 1.5, 5.0]).tempo == 120
