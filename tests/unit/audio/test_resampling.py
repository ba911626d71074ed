"""The stream of blocks equals librosa's resampling of the whole recording."""

import librosa
import numpy as np
import pytest

from mt3_model.audio.samples.resampling import Resampler

TARGET = 16_000


def resample_in_blocks(samples: np.ndarray, rate: int, block: int) -> np.ndarray:
    resampler = Resampler(source_rate=rate, target_rate=TARGET)
    pieces = [resampler.resample(samples[at : at + block]) for at in range(0, len(samples), block)]
    return np.concatenate([*pieces, resampler.finish()])


@pytest.mark.parametrize("rate", [8_000, 11_025, 12_345, 22_050, 32_000, 44_100, 48_000, 192_000])
@pytest.mark.parametrize("block", [1_000, 44_100])
def test_blocks_give_librosas_samples_bit_for_bit(rate, block):
    noise = np.random.default_rng(0).standard_normal(rate + 17).astype(np.float32) / 4
    expected = librosa.resample(noise, orig_sr=rate, target_sr=TARGET, res_type="soxr_hq")
    # No tolerance: it is the same library with other blocks.
    np.testing.assert_array_equal(resample_in_blocks(noise, rate, block), expected)


@pytest.mark.parametrize("count", [0, 1, 2, 3, 5, 441, 882])
@pytest.mark.parametrize("rate", [11_025, 44_100, 96_000])
def test_even_the_shortest_sound_has_librosas_length(rate, count):
    samples = np.ones(count, np.float32)
    found = resample_in_blocks(samples, rate, 100)
    # ceil(count * 16,000 / rate), in librosa's float64.
    assert len(found) == int(np.ceil(count * (TARGET / rate)))
    if count:
        expected = librosa.resample(samples, orig_sr=rate, target_sr=TARGET, res_type="soxr_hq")
        np.testing.assert_array_equal(found, expected)


def test_samples_at_the_target_rate_are_unchanged():
    samples = np.random.default_rng(1).standard_normal(5_000).astype(np.float32)
    np.testing.assert_array_equal(resample_in_blocks(samples, TARGET, 777), samples)
