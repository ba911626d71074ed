"""One of several channels that cancel each other is used; others are averaged."""

import librosa
import numpy as np
import pytest

from mt3_model.audio.recording import AudioWarning
from mt3_model.audio.samples.channel_mixing import ChannelMixer
from tests.unit.audio.encoded_recordings import write_sound
from tests.unit.audio.in_process import read_recording
from tests.unit.audio.timed_recordings import SECONDS, tones

RATE = 16_000
MONO = tones(RATE, channels=1)[:, 0]


def read(path, **time_range) -> tuple[np.ndarray, tuple[AudioWarning, ...]]:
    found = read_recording(path, **time_range)
    return found.samples, found.warnings


def read_channels(folder, *channels: np.ndarray, **time_range):
    samples = np.stack(channels, axis=1)
    return read(write_sound(folder / "song", samples, rate=RATE, subtype="FLOAT"), **time_range)


@pytest.mark.parametrize("factor", [-1.0, -0.98, -0.8])
def test_a_reversed_channel_does_not_silence_the_other(tmp_path, factor):
    found, warnings = read_channels(tmp_path, MONO, factor * MONO)
    np.testing.assert_array_equal(found, MONO)
    assert [warning.code for warning in warnings] == ["channels_cancel"]
    assert (warnings[0].start, warnings[0].end) == (0.0, SECONDS)


def test_a_pair_of_reversed_channels_among_others_is_heard(tmp_path):
    silence = np.zeros_like(MONO)
    found, warnings = read_channels(tmp_path, MONO, -MONO, silence, silence)
    np.testing.assert_array_equal(found, MONO)
    assert [warning.code for warning in warnings] == ["channels_cancel"]


def test_a_short_delay_between_reversed_channels_is_heard(tmp_path):
    late = np.concatenate([np.zeros(1), MONO[:-1]]).astype(np.float32)  # 0.06 ms
    found, warnings = read_channels(tmp_path, MONO, -late)
    np.testing.assert_array_equal(found, MONO)
    assert [warning.code for warning in warnings] == ["channels_cancel"]


def test_only_the_part_that_cancels_is_taken_from_one_channel(tmp_path):
    other = MONO.copy()
    other[RATE : 2 * RATE] *= -1
    found, warnings = read_channels(tmp_path, MONO, other)
    # The mean of equal channels is one of them, so only the two fades differ from it.
    np.testing.assert_allclose(found[:RATE], MONO[:RATE], atol=0)
    np.testing.assert_allclose(found[RATE + 160 : 2 * RATE], MONO[RATE + 160 : 2 * RATE], atol=0)
    np.testing.assert_allclose(found[2 * RATE :], MONO[2 * RATE :], atol=1e-7)
    assert [warning.code for warning in warnings] == ["channels_cancel"]
    assert (warnings[0].start, warnings[0].end) == (1.0, 2.0)


def test_a_range_is_decided_as_the_whole(tmp_path):
    other = MONO.copy()
    other[RATE : 2 * RATE] *= -1
    whole, _ = read_channels(tmp_path, MONO, other)
    part, warnings = read_channels(tmp_path, MONO, other, start=0.8, end=1.7)
    np.testing.assert_array_equal(part, whole[round(0.8 * RATE) : round(1.7 * RATE)])
    assert [(warning.start, warning.end) for warning in warnings] == [(1.0, 1.7)]


@pytest.mark.parametrize("channels", [2, 6, 64])
@pytest.mark.parametrize("kind", ["independent", "wide", "one", "pause"])
def test_channels_that_do_not_cancel_are_averaged(tmp_path, channels, kind):
    generator = np.random.default_rng(0)
    samples = generator.standard_normal((RATE, channels)) / 10
    match kind:
        case "wide":  # a correlation of -0.8 in the first pair
            samples[:, 1] = 0.6 * samples[:, 1] - 0.8 * samples[:, 0]
        case "one":
            samples[:, 1:] = 0
        case "pause":  # opposite noise 70 dB under full scale
            samples[:, :] = 0
            samples[:, 0] = generator.standard_normal(RATE) * 3e-4
            samples[:, 1] = -samples[:, 0] * 0.99
    samples = samples.astype(np.float32)
    found, warnings = read(write_sound(tmp_path / "song", samples, rate=RATE, subtype="FLOAT"))
    np.testing.assert_array_equal(found, librosa.to_mono(samples.T))
    assert not [warning for warning in warnings if warning.code == "channels_cancel"]


@pytest.mark.slow
@pytest.mark.parametrize("size", [1, 777, 8_000, 20_000])
def test_blocks_do_not_matter(size):
    samples = np.stack([MONO, -MONO], axis=1)
    mixer = ChannelMixer(sample_rate=RATE, first_sample=123)
    pieces = [mixer.mix(samples[at : at + size]) for at in range(0, len(samples), size)]
    whole = ChannelMixer(sample_rate=RATE, first_sample=123)
    expected = np.concatenate([whole.mix(samples), whole.finish()])
    np.testing.assert_array_equal(np.concatenate([*pieces, mixer.finish()]), expected)


@pytest.mark.parametrize("channels", [2, 3, 7, 8, 9])
def test_the_mean_is_that_of_to_mono_bit_for_bit(channels):
    rng = np.random.default_rng(channels)
    samples = rng.standard_normal((RATE, channels)).astype(np.float32)
    samples[::7] = -0.0
    mixer = ChannelMixer(sample_rate=RATE, first_sample=0)
    mixed = np.concatenate([mixer.mix(samples), mixer.finish()])
    assert mixed.tobytes() == np.mean(samples, axis=1).tobytes()


@pytest.mark.parametrize("scale", [1e-30, 1e-19, 1e-4, 0.1, 1.0, 1e5])
def test_channels_are_chosen_by_exact_energies(scale):
    """Float32 sums decide clear cases; the decision is that of sums in float64."""
    rng = np.random.default_rng(0)
    left, other = rng.uniform(-1, 1, (2, RATE // 2))
    for correlation in np.linspace(-1.0, -0.7, 25):
        right = correlation * left + np.sqrt(1 - correlation**2) * other
        samples = (np.stack([left, right], axis=1) * scale).astype(np.float32)
        mixer = ChannelMixer(sample_rate=RATE, first_sample=0)
        mixer.mix(samples)
        exact, mean = samples.astype(np.float64), np.mean(samples, axis=1).astype(np.float64)
        energies = np.mean(exact**2, axis=0)
        ratio = np.mean(mean**2) * 4 / np.sum(energies)
        cancels = np.max(energies) >= 1e-6 and ratio < 1 / 16
        assert bool(mixer.canceled_samples) == cancels
