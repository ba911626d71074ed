"""Music that stops and begins again: its bars begin again with it."""

import itertools

import numpy as np
import pytest
from msgspec import structs

from mt3_model.notes.note import NoteSequence
from mt3_model.notes.rhythm_options import KnownRhythm
from mt3_model.notes.time_signature import TimeSignature
from mt3_model.rhythm.estimation import estimate_musical_time
from mt3_model.rhythm.onset_strength import NoteArrays
from mt3_model.rhythm.pauses import Pause, find_pauses, fit_pauses
from tests.unit.rhythm.music import beat_times, chords, place, rock, sequence

TEMPO = 100
BEAT = 60 / TEMPO
START = 0.5
COMMON, WALTZ = (TimeSignature(numerator=n, denominator=4) for n in (4, 3))


def two_parts(per_bar: int, pause_beats: float, *, bars: int = 8) -> tuple[NoteSequence, float]:
    """Return the same music twice, and the time of the second downbeat of the second time."""
    beats = beat_times(bars * per_bar + 1, tempo=TEMPO, start=START)
    once = place(beats, [*chords(bars, per_bar), *(rock(bars) if per_bar == 4 else ())])
    later = (bars * per_bar + pause_beats) * BEAT
    again = [
        structs.replace(n, start_time=n.start_time + later, end_time=n.end_time + later)
        for n in once.notes
    ]
    return sequence([*once.notes, *again]), START + later


def downbeats(notes: NoteSequence, known: KnownRhythm | None = None) -> np.ndarray:
    time = estimate_musical_time(notes, known)
    assert time is not None
    return np.array([t for i, t in enumerate(time.beat_times) if time.is_downbeat(i)])


def nearest(times: np.ndarray, time: float) -> float:
    return float(times[np.abs(times - time).argmin()])


@pytest.mark.parametrize("pause_beats", [4, 5, 6, 7, 8, 6.5])
def test_bars_begin_anew_after_a_pause(pause_beats: float) -> None:
    notes, second = two_parts(4, pause_beats)
    found = downbeats(notes)
    for bar in range(8):
        for start in (START, second):
            expected = start + 4 * bar * BEAT
            assert nearest(found, expected) == pytest.approx(expected, abs=0.05)


@pytest.mark.parametrize("pause_beats", [3, 4, 5])
def test_waltzes_too(pause_beats: float) -> None:
    notes, second = two_parts(3, pause_beats, bars=12)
    found = downbeats(notes)
    assert nearest(found, START) == pytest.approx(START, abs=0.05)
    assert nearest(found, second) == pytest.approx(second, abs=0.05)


def test_the_first_downbeat_that_the_caller_names_holds_for_all() -> None:
    notes, _ = two_parts(4, 6)
    plain = KnownRhythm(first_downbeat=START, time_signature=COMMON)
    time = estimate_musical_time(notes, plain)
    assert time is not None
    gaps = np.diff(time.beat_times)
    assert gaps.max() < 1.2 * BEAT  # no beat of the pause is moved


def test_beats_outside_pauses_stay() -> None:
    notes, _ = two_parts(4, 6)
    arrays = NoteArrays.from_notes(notes.notes)
    beats = beat_times(8 * 4 + 6 + 8 * 4 + 1, tempo=TEMPO, start=START)
    fitted = fit_pauses(arrays, beats, COMMON)
    (pause,) = find_pauses(arrays, 4 * BEAT)
    outside = beats[(beats < pause.start + 0.1) | (beats > pause.end - 0.1)]
    assert np.isin(outside.round(6), fitted.round(6)).all()
    assert (len(fitted) - len(beats)) % 4 == 2
    assert (np.diff(fitted) > 0).all()


@pytest.mark.parametrize("signature", [COMMON, WALTZ])
def test_without_a_pause_nothing_changes(signature: TimeSignature) -> None:
    beats = beat_times(49, tempo=TEMPO)
    arrays = NoteArrays.from_notes(place(beats, chords(12, 4)).notes)
    assert fit_pauses(arrays, beats, signature) is beats


def test_a_pause_is_where_nothing_sounds() -> None:
    beats = beat_times(21, tempo=60, start=0.0)
    events = [(0.0, 5.0, 40, 33), (1.0, 1.0, 60, 0), (8.0, 1.0, 60, 0), (12.0, 1.0, 60, 0)]
    arrays = NoteArrays.from_notes(place(beats, events).notes)
    assert find_pauses(arrays, 3.0) == [Pause(start=5.0, end=8.0), Pause(start=9.0, end=12.0)]
    assert find_pauses(arrays, 3.5) == []


def test_several_pieces_in_one_recording_each_have_their_bars() -> None:
    parts, starts = [], []
    start = 0.0
    for pause in (5.0, 6.0, 7.0, 0.0):
        starts.append(START + start * BEAT)
        parts.append(start)
        start += 32 + pause
    beats = beat_times(33, tempo=TEMPO, start=START)
    once = place(beats, [*chords(8, 4), *rock(8)])
    notes = [
        structs.replace(n, start_time=n.start_time + part * BEAT, end_time=n.end_time + part * BEAT)
        for part, n in itertools.product(parts, once.notes)
    ]
    found = downbeats(sequence(notes))
    assert [nearest(found, s) for s in starts] == pytest.approx(starts, abs=0.05)
