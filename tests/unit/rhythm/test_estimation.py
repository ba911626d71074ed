"""Beats and bars of music with known beats, and what the caller may say about them."""

import dataclasses
import itertools

import numpy as np
import pytest

from mt3_model.notes.note import Note, NoteSequence
from mt3_model.notes.rhythm_options import KnownRhythm
from mt3_model.notes.time_signature import TimeSignature
from mt3_model.rhythm.estimation import estimate_musical_time
from tests.unit.rhythm.music import beat_times, chords, place, rock, sequence

NEAR = 0.03
"""Seconds: three steps of MT3's time."""
WALTZ = TimeSignature(numerator=3, denominator=4)


def found(notes, **known):
    time = estimate_musical_time(notes, KnownRhythm(**known))
    assert time is not None
    return time


def assert_beats(time, beats, *, all_but=2):
    """All beats are found but a few at the ends, which the notes need not cover."""
    distances = np.abs(np.array(time.beat_times)[:, None] - beats).min(axis=0)
    assert (distances > NEAR).sum() <= all_but


@pytest.mark.parametrize("tempo", [72, 96, 120, 150])
def test_steady_music_in_four_has_its_tempo_and_bars(tempo):
    beats = beat_times(61, tempo=tempo)
    time = found(place(beats, [*rock(15), *chords(15, 4)]))
    assert time.tempo == pytest.approx(tempo, rel=0.03)
    assert (time.time_signature.numerator, time.time_signature.denominator) == (4, 4)
    assert time.beat_times[time.first_downbeat] == pytest.approx(0.5, abs=NEAR)
    assert_beats(time, beats)


def test_a_waltz_has_bars_of_three():
    beats = beat_times(61, tempo=130)
    time = found(place(beats, chords(20, 3)))
    assert (time.time_signature.numerator, time.time_signature.denominator) == (3, 4)
    assert time.beat_times[time.first_downbeat] == pytest.approx(0.5, abs=NEAR)
    assert_beats(time, beats)


def test_a_jig_has_beats_of_three_eighths():
    beats = beat_times(41, tempo=110)
    eighths = [(i / 3, 0.3, 60 + (0, 4, 7, 9, 7, 4)[i % 6], 73) for i in range(120)]
    basses = [(i, 0.9, (36, 43, 41, 36)[i // 2 % 4] + 7 * (i % 2), 33) for i in range(40)]
    time = found(place(beats, [*eighths, *basses]))
    assert time.time_signature.is_compound
    assert_beats(time, beats)


def test_beats_follow_a_ritardando():
    beats = beat_times(49, tempo=120, drift=0.01)
    time = found(place(beats, [*rock(12), *chords(12, 4)]))
    assert_beats(time, beats)
    assert np.diff(time.beat_times)[-4] == pytest.approx(np.diff(beats)[-4], rel=0.06)


def test_drums_alone_have_bars_and_no_key():
    beats = beat_times(61, tempo=112)
    time = found(place(beats, rock(15)))
    assert time.tempo == pytest.approx(112, rel=0.03)
    assert time.time_signature.numerator == 4
    assert time.key is None


@pytest.mark.parametrize(("word", "factor"), [("half", 0.5), ("double", 2.0)])
def test_half_and_double_are_of_the_estimate(word, factor):
    notes = place(beat_times(61, tempo=100), [*rock(15), *chords(15, 4)])
    changed = found(notes, tempo=word)
    assert changed.tempo == pytest.approx(factor * found(notes).tempo, rel=0.03)
    assert changed.tempo_confidence == 1.0


def test_a_named_tempo_is_followed():
    notes = place(beat_times(61, tempo=100), [*rock(15), *chords(15, 4)])
    time = found(notes, tempo=202.0)
    assert time.tempo == pytest.approx(200, rel=0.03)
    assert time.tempo_confidence == 1.0


@pytest.mark.parametrize("numerator", [2, 3, 5, 7])
def test_a_named_time_signature_is_kept(numerator):
    named = TimeSignature(numerator=numerator, denominator=4)
    notes = place(beat_times(61, tempo=100), rock(15))
    time = found(notes, time_signature=named)
    assert time.time_signature == named
    assert 0 <= time.first_downbeat < numerator


def test_a_named_downbeat_begins_a_bar():
    beats = beat_times(61, tempo=100)
    time = found(place(beats, rock(15)), first_downbeat=float(beats[5]))
    nearest = int(np.abs(np.array(time.beat_times) - beats[5]).argmin())
    assert time.beat_times[nearest] == pytest.approx(beats[5], abs=NEAR)
    assert time.is_downbeat(nearest)


def test_a_named_downbeat_between_the_beats_moves_them():
    beats = beat_times(61, tempo=100)
    between = float(beats[8:10].mean())
    time = found(place(beats, rock(15)), first_downbeat=between)
    assert np.abs(np.array(time.beat_times) - between).min() < NEAR


@pytest.mark.parametrize("beats_ahead", [1, 2, 3, 4, 7])
def test_a_downbeat_in_the_silence_before_the_notes_counts(beats_ahead):
    beats = beat_times(61, tempo=100, start=6.0)
    downbeat = 6.0 - beats_ahead * 0.6
    time = found(place(beats, rock(15)), first_downbeat=downbeat, time_signature=WALTZ)
    first = int(np.abs(np.array(time.beat_times) - 6.0).argmin())
    assert time.is_downbeat(first + 3 - beats_ahead % 3)


def test_a_downbeat_after_the_last_note_counts():
    beats = beat_times(61, tempo=100)
    notes = place(beats[:33], rock(8))
    time = found(notes, first_downbeat=float(beats[35]), time_signature=WALTZ)
    nearest = int(np.abs(np.array(time.beat_times) - beats[32]).argmin())
    assert time.is_downbeat(nearest)


def test_a_downbeat_far_from_the_notes_is_not_used():
    notes = place(beat_times(61, tempo=100), rock(15))
    assert found(notes, first_downbeat=99.0) == found(notes)


def test_all_that_is_named_is_certain():
    named = TimeSignature(numerator=3, denominator=4)
    notes = place(beat_times(61, tempo=100), rock(15))
    time = found(notes, tempo=100.0, time_signature=named, first_downbeat=0.5)
    assert (time.tempo_confidence, time.meter_confidence) == (1.0, 1.0)


def note(start, end, pitch=60):
    return Note(pitch=pitch, start_time=float(start), end_time=float(end), velocity=127)


@pytest.mark.parametrize(
    "notes",
    [[], [note(1, 2)], [note(i / 10, i / 10 + 0.1) for i in range(8)], [note(0, 60), note(50, 60)]],
)
def test_too_few_notes_have_no_tempo(notes):
    assert estimate_musical_time(sequence(notes)) is None


def test_one_note_has_the_tempo_that_is_named():
    time = found(sequence([note(1.0, 3.0)]), tempo=60.0)
    assert time.tempo == pytest.approx(60, rel=0.02)
    assert time.beat_times[0] <= 1.0
    assert time.beat_times[-1] >= 3.0


def test_the_order_of_notes_does_not_matter():
    notes = place(beat_times(41, tempo=90), chords(10, 4))
    backwards = dataclasses.replace(notes, notes=notes.notes[::-1])
    assert found(backwards) == found(notes)


@pytest.mark.slow
def test_an_hour_has_its_last_beats_as_exact_as_its_first():
    beats = beat_times(7201, tempo=120)
    time = found(place(beats, rock(1800)))
    assert_beats(time, beats)
    assert time.tempo == pytest.approx(120, rel=0.01)


def test_a_song_after_long_silence_has_no_beats_in_the_silence():
    beats = beat_times(41, tempo=100, start=600.0)
    time = found(place(beats, rock(10)))
    assert time.beat_times[0] > 598
    assert_beats(time, beats)


def test_all_beats_increase_and_cover_the_notes_when_the_music_pauses():
    one = place(beat_times(41, tempo=100), rock(8))
    two = place(beat_times(41, tempo=100, start=60.25), rock(8))
    both = NoteSequence(notes=one.notes + two.notes, total_time=two.total_time)
    time = found(both)
    assert all(a < b for a, b in itertools.pairwise(time.beat_times))
    assert time.beat_times[0] <= 0.5
    assert time.beat_times[-1] >= both.total_time
