"""Checks which recordings count as clipped."""

import numpy as np
import pytest

from mt3_model.audio.samples.clipping import CLIPPED_SHARE, ClippingDetector
from tests.unit.audio.encoded_recordings import write_sound
from tests.unit.audio.in_process import read_recording

RATE = 44_100


def tone(hertz: float, gain: float, *, seconds: float = 1.0, bits: int = 16) -> np.ndarray:
    """A sine of an amplitude, cut at full scale and rounded to a number of bits."""
    time = np.arange(round(seconds * RATE)) / RATE
    steps = 2 ** (bits - 1)
    wave = np.clip(gain * np.sin(2 * np.pi * hertz * time), -1.0, 1.0)
    return (np.round(wave * (steps - 1)) / steps).astype(np.float32)[:, None]


def detect(*blocks: np.ndarray) -> ClippingDetector:
    detector = ClippingDetector()
    for block in blocks:
        detector.add(block, float(np.abs(block).max()))
    return detector


@pytest.mark.parametrize("hertz", [100.0, 440.0, 5_000.0])
def test_full_scale_is_not_clipped(hertz):
    assert detect(tone(hertz, 1.0)).clipped == 0


def test_share_is_that_of_the_flat_tops():
    # |2 sin| > 1 for two thirds of the time.
    assert detect(tone(440.0, 2.0)).share == pytest.approx(2 / 3, abs=0.02)


def test_flat_tops_below_full_scale_are_not_clipping():
    assert detect(tone(440.0, 2.0) * np.float32(0.9)).clipped == 0


def test_share_and_places_are_those_of_the_whole_recording():
    quiet, loud = tone(440.0, 0.5), tone(440.0, 4.0)
    detector = detect(quiet, loud, quiet)
    assert detector.share == pytest.approx(detect(loud).share / 3)
    assert RATE <= detector.first < detector.past <= 2 * RATE


def test_one_clipped_channel_is_enough():
    block = np.concatenate([tone(440.0, 0.5), tone(440.0, 2.0)], axis=1)
    assert detect(block).share > 0.6


def test_single_peaks_and_short_blocks_are_not_clipping():
    clicks = np.zeros((1_000, 1), np.float32)
    clicks[::10] = 1.0
    assert detect(clicks, clicks[:3], np.ones((3, 1), np.float32)).clipped == 0


def test_clipped_recording_is_read_with_a_warning(tmp_path):
    samples = np.concatenate([tone(440.0, 0.5), tone(440.0, 2.0)])
    found = read_recording(write_sound(tmp_path / "song", samples, rate=RATE))
    (warning,) = found.warnings
    assert warning.code == "clipped_audio"
    assert (warning.start, warning.end) == (
        pytest.approx(1.0, abs=0.01),
        pytest.approx(2.0, abs=0.01),
    )


def test_few_clipped_samples_give_no_warning(tmp_path):
    samples = np.concatenate([tone(440.0, 0.5, seconds=20.0), tone(440.0, 2.0, seconds=0.02)])
    assert 0 < detect(samples).share < CLIPPED_SHARE
    assert read_recording(write_sound(tmp_path / "song", samples, rate=RATE)).warnings == ()
