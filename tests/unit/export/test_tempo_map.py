"""MIDI files with the recording's beats: the grid lies on the beats, and no note moves."""

import io
import itertools

import mido
import numpy as np
import pretty_midi
import pytest

from mt3_model.export.midi import to_midi
from mt3_model.export.note_sequence import to_note_sequence
from mt3_model.export.tempo_map import MAX_TICKS, beat_tempo_map, constant_tempo_map
from mt3_model.notes.musical_time import Key, MusicalTime, TimeSignature
from mt3_model.notes.note import Note, NoteSequence

MILLISECOND = 0.001


def musical_time(beats, *, numerator=4, denominator=4, first_downbeat=0, key=None):
    return MusicalTime(
        beat_times=tuple(float(beat) for beat in beats),
        time_signature=TimeSignature(numerator=numerator, denominator=denominator),
        first_downbeat=first_downbeat,
        key=key,
        tempo_confidence=1.0,
        meter_confidence=1.0,
    )


def notes_at(times, *, length=0.2):
    notes = tuple(
        Note(pitch=40 + i % 40, start_time=float(t), end_time=float(t) + length, velocity=80)
        for i, t in enumerate(times)
    )
    return NoteSequence(notes=notes, total_time=max(n.end_time for n in notes))


def pretty(content):
    return pretty_midi.PrettyMIDI(io.BytesIO(content))


def drifting(count, *, seed=1, start=0.7):
    random = np.random.default_rng(seed)
    return start + np.cumsum(random.uniform(0.4, 0.7, count))


@pytest.mark.parametrize(
    "beats", [np.arange(60) * 0.5 + 0.3, drifting(60), drifting(60, start=-0.5)]
)
def test_every_note_keeps_its_time_to_a_millisecond(beats):
    times = np.random.default_rng(2).uniform(0, beats[-1] + 3, 300).round(2)
    times.sort()
    notes = notes_at(times)
    read = pretty(to_midi(notes, time=musical_time(beats)))
    found = sorted((n.start, n.pitch) for i in read.instruments for n in i.notes)
    expected = sorted((n.start_time, n.pitch) for n in notes.notes)
    assert [p for _, p in found] == [p for _, p in expected]
    np.testing.assert_allclose(
        [t for t, _ in found], [t for t, _ in expected], atol=MILLISECOND, rtol=0
    )


@pytest.mark.parametrize("numerator", [2, 3, 4])
@pytest.mark.parametrize("first_downbeat", [0, 1])
def test_the_grid_lies_on_the_beats_and_bars(numerator, first_downbeat):
    beats = drifting(40)
    time = musical_time(beats, numerator=numerator, first_downbeat=first_downbeat)
    read = pretty(to_midi(notes_at(beats), time=time))
    grid, bars = read.get_beats(), read.get_downbeats()
    for beat in beats:
        assert np.abs(grid - beat).min() < 0.01
    for index, beat in enumerate(beats):
        assert (np.abs(bars - beat).min() < 0.01) == time.is_downbeat(index)


def test_a_dotted_quarter_is_the_beat_of_a_compound_meter():
    beats = np.arange(20) * 0.6 + 0.6
    content = to_midi(notes_at(beats), time=musical_time(beats, numerator=6, denominator=8))
    conductor = mido.MidiFile(file=io.BytesIO(content)).tracks[0]
    (tempo,) = (m.tempo for m in conductor if m.type == "set_tempo")
    assert tempo == 400_000  # a quarter is two thirds of the beat
    *_, signature = (m for m in conductor if m.type == "time_signature")
    assert (signature.numerator, signature.denominator) == (6, 8)


def test_a_steady_recording_has_one_tempo():
    beats = np.arange(200) * 0.5 + 0.5 + np.random.default_rng(3).uniform(-0.004, 0.004, 200)
    time_map = beat_tempo_map(musical_time(beats), last=101.0, max_ticks=MAX_TICKS)
    assert len(time_map.tempi) <= 3
    assert time_map.tempi[0].microseconds == pytest.approx(500_000, rel=0.02)


def test_a_pickup_is_a_shorter_first_bar():
    beats = np.arange(16) * 0.5
    time_map = beat_tempo_map(musical_time(beats, first_downbeat=1), last=8.0, max_ticks=MAX_TICKS)
    assert [(m.tick / time_map.ticks_per_quarter, m.numerator) for m in time_map.meters] == [
        (0, 1),
        (1, 4),
    ]


def test_two_hours_fit_and_keep_their_times():
    beats = np.arange(0, 7_201, 60 / 200)
    notes = notes_at([0.0, 3_600.01, 7_199.0])
    read = pretty(to_midi(notes, time=musical_time(beats)))
    found = sorted(n.start for i in read.instruments for n in i.notes)
    np.testing.assert_allclose(found, [0.0, 3_600.01, 7_199.0], atol=MILLISECOND)


def test_ticks_and_seconds_undo_one_another():
    time_map = beat_tempo_map(musical_time(drifting(50)), last=40.0, max_ticks=MAX_TICKS)
    for tick in range(0, 40_000, 97):
        assert time_map.to_ticks(time_map.to_seconds(tick)) == tick
    starts = [change.seconds for change in time_map.tempi]
    assert all(a < b for a, b in itertools.pairwise(starts))


def test_without_beats_there_is_one_tempo_from_the_start():
    time_map = constant_tempo_map(500, 120.0)
    assert time_map.to_ticks(1.0) == 1_000
    assert time_map.to_seconds(1_000) == 1.0


@pytest.mark.parametrize(
    ("fifths", "mode", "name"), [(-3, "minor", "Cm"), (2, "major", "D"), (6, "minor", "D#m")]
)
def test_the_key_is_written(fifths, mode, name):
    time = musical_time(np.arange(10) * 0.5, key=Key(fifths=fifths, mode=mode, confidence=0.9))
    conductor = mido.MidiFile(file=io.BytesIO(to_midi(notes_at([1.0]), time=time))).tracks[0]
    assert [m.key for m in conductor if m.type == "key_signature"] == [name]


def test_the_note_sequence_has_tempi_time_signatures_and_key():
    time = musical_time(drifting(40), numerator=3, key=Key(fifths=-3, mode="minor", confidence=0.9))
    proto = to_note_sequence(notes_at([1.0, 2.0]), time)
    assert len(proto.tempos) > 20
    assert proto.tempos[5].qpm == pytest.approx(60 / 0.55, rel=0.3)
    assert proto.time_signatures[-1].numerator == 3
    (key,) = proto.key_signatures
    assert (key.key, key.mode) == (key.C, key.MINOR)


@pytest.mark.parametrize("grid", [1, 2, 3, 4, 6, 8])
def test_quantized_notes_lie_on_the_grid_at_one_tempo(grid):
    beats = drifting(40)
    notes = notes_at(np.random.default_rng(4).uniform(beats[0], beats[-1], 100), length=0.3)
    file = mido.MidiFile(
        file=io.BytesIO(to_midi(notes, time=musical_time(beats, first_downbeat=2), grid=grid))
    )
    tempi = [m for m in file.tracks[0] if m.type == "set_tempo"]
    assert len(tempi) == 1
    step = file.ticks_per_beat / grid
    now, begins = 0, 0
    for message in file.tracks[1]:
        now += message.time
        if message.type in ("note_on", "note_off"):
            begins += message.type == "note_on"
            assert now % step == 0
    assert begins > 90


def test_quantized_music_begins_with_a_bar_and_keeps_its_rhythm():
    beats = drifting(12)
    played = notes_at(beats + np.linspace(-0.04, 0.04, 12))
    time = musical_time(beats, first_downbeat=1)
    file = mido.MidiFile(file=io.BytesIO(to_midi(played, time=time, grid=4)))
    now, onsets = 0, []
    for message in file.tracks[1]:
        now += message.time
        if message.type == "note_on":
            onsets.append(now / file.ticks_per_beat)
    assert onsets == [3.0 + i for i in range(12)]


def test_without_beats_nothing_is_quantized():
    notes = notes_at([0.13, 0.57])
    assert to_midi(notes, grid=4) == to_midi(notes)


def test_the_first_tempo_is_the_usual_one_even_if_the_first_beat_comes_soon():
    # 0.15 s before the first beat are one beat of the grid, at 400 beats per minute.
    beats = np.arange(20) * 0.5 + 0.15
    time_map = beat_tempo_map(musical_time(beats), last=9.0, max_ticks=MAX_TICKS)
    resolution = time_map.ticks_per_quarter
    assert [change.tick for change in time_map.tempi] == [0, 1, resolution]
    assert time_map.tempi[0].microseconds == 500_000
    assert time_map.to_ticks(0.15) == resolution
    assert time_map.to_ticks(0.65) == 2 * resolution
