"""Checks velocities from synthetic sounds whose levels are known."""

import numpy as np
import pytest
from msgspec import structs

from mt3_model.notes.note import Note
from mt3_model.postprocessing.dynamics import estimate_velocities
from mt3_model.postprocessing.note_levels import measure_note_levels
from mt3_model.postprocessing.sound import RecordingSound
from tests.unit.postprocessing.tones import SAMPLE_RATE, note, sound_of


def played(notes: list[Note], amplitudes: list[float], seconds: float) -> RecordingSound:
    """Render each note as six partials of strength 1/h that decay, at its own amplitude."""
    times = np.arange(round(seconds * SAMPLE_RATE)) / SAMPLE_RATE
    samples = np.zeros(len(times))
    for each, amplitude in zip(notes, amplitudes, strict=True):
        since = times - each.start_time
        envelope = np.where((since >= 0) & (times < each.end_time), np.exp(-2.0 * since), 0.0)
        for partial in range(1, 7):
            hertz = 440.0 * 2.0 ** ((each.pitch - 69) / 12) * partial
            samples += amplitude / partial * envelope * np.sin(2.0 * np.pi * hertz * since)
    sound = RecordingSound(SAMPLE_RATE)
    sound.add_samples(samples.astype(np.float32))
    return sound


def velocities(notes: list[Note], sound: RecordingSound, start: float = 0.0) -> list[int]:
    return [n.velocity for n in estimate_velocities(notes, sound, start=start)]


def test_levels_follow_the_amplitudes() -> None:
    notes = [note(60, i, i + 0.9) for i in range(4)]
    sound = played(notes, [0.05, 0.1, 0.2, 0.05], 4.0)
    levels = measure_note_levels(notes, sound.low_band)
    # Twice the amplitude is 6.02 dB.
    assert np.diff(levels) == pytest.approx([6.02, 6.02, -12.04], abs=0.5)


def test_octave_is_not_louder_for_the_lower_note_s_partials() -> None:
    # The upper octave is 20 dB softer, and each of its partials is also one of the lower note.
    notes = [note(48, 0.0, 0.9), note(60, 0.0, 0.9), note(48, 1.0, 1.9), note(60, 2.0, 2.9)]
    sound = played(notes, [0.2, 0.02, 0.2, 0.02], 3.0)
    levels = measure_note_levels(notes, sound.low_band)
    assert levels[0] - levels[1] > 6.0


def test_velocities_rise_with_the_level_around_80() -> None:
    notes = [note(60, i, i + 0.9) for i in range(5)]
    found = velocities(notes, played(notes, [0.02, 0.04, 0.08, 0.16, 0.32], 5.0))
    assert found == sorted(found)
    assert found[2] == 80
    assert 50 <= found[0] < 70
    assert 90 < found[-1] <= 110


@pytest.mark.slow
def test_loud_instrument_is_not_all_forte() -> None:
    quiet = [note(60, i, i + 0.9, program=0) for i in range(20)]
    loud = [note(72, i, i + 0.9, program=40) for i in range(20)]
    notes = [*quiet, *loud]
    found = velocities(notes, played(notes, [0.02] * 20 + [0.08] * 20, 20.0))
    # 12 dB apart; half of it, less the share of few notes, stays: about 7 dB, 1.5 each.
    assert 0 < np.median(found[20:]) - np.median(found[:20]) < 15


@pytest.mark.slow
def test_blocks_of_a_long_recording_have_one_scale() -> None:
    notes = [note(60, i, i + 0.9) for i in range(0, 70, 2)]
    levels = measure_note_levels(notes, played(notes, [0.1] * len(notes), 71.0).low_band)
    assert np.ptp(levels) < 1.0


def test_drum_strokes_follow_their_band() -> None:
    generator = np.random.default_rng(0)
    samples = np.zeros(3 * SAMPLE_RATE, np.float32)
    for second, amplitude in enumerate((0.05, 0.1, 0.2)):
        burst = generator.standard_normal(480).astype(np.float32) * np.float32(amplitude)
        samples[second * SAMPLE_RATE : second * SAMPLE_RATE + 480] = burst
    sound = RecordingSound(SAMPLE_RATE)
    sound.add_samples(samples)
    notes = [note(42, i, i + 0.01, drum=True) for i in range(3)]
    found = velocities(notes, sound)
    assert found[0] < found[1] < found[2]
    assert found[1] == 80


def test_range_of_a_recording_has_its_own_clock() -> None:
    here = [note(60, i, i + 0.9) for i in range(3)]
    there = [
        structs.replace(n, start_time=n.start_time + 100, end_time=n.end_time + 100) for n in here
    ]
    sound = played(here, [0.05, 0.1, 0.2], 3.0)
    assert velocities(there, sound, start=100.0) == velocities(here, sound)


@pytest.mark.parametrize(
    "notes",
    [
        [note(110)],
        [note(60, 50.0, 51.0)],
        [note(60, -1.0, -0.5)],
        [note(38, 50.0, 50.01, drum=True)],
        [note(0)],
    ],
)
def test_notes_without_evidence_get_the_median(notes: list[Note]) -> None:
    assert velocities(notes, sound_of([note(60)], 1.0)) == [80] * len(notes)


def test_no_notes_and_no_sound() -> None:
    assert velocities([], sound_of([], 0.0)) == []
    assert velocities([note(60), note(38, drum=True)], sound_of([], 0.0)) == [80, 80]
