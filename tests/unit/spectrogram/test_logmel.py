"""The log-mel equals a computation in float64."""

import jax.numpy as jnp
import numpy as np
import pytest

from mt3_model.spec import MT3
from mt3_model.spectrogram.logmel import ZERO_REPLACEMENT, compute_logmel
from mt3_model.spectrogram.mel import analysis_window, mel_matrix

SPEC = MT3.spectrogram
FRAMES = 24


def logmel(samples, frames=FRAMES):
    return np.asarray(
        compute_logmel(
            jnp.asarray(samples, jnp.float32)[None], jnp.array([frames], jnp.int32), SPEC
        )
    )[0]


def test_equals_the_definition_frame_by_frame():
    samples = np.random.default_rng(1).standard_normal(FRAMES * 128).astype(np.float32)
    padded = np.pad(samples.astype(np.float64), (0, 2_048))
    frames = np.stack([padded[t * 128 : t * 128 + 2_048] for t in range(FRAMES)])
    magnitude = np.abs(np.fft.rfft(frames * analysis_window(SPEC)))
    mel = magnitude @ mel_matrix(SPEC).astype(np.float64)
    expected = np.log(np.where(mel <= 0, 1e-5, mel))
    # Float32 rounding of a 2,048-point transform, relative 1e-6, seen through the logarithm.
    np.testing.assert_allclose(logmel(samples), expected, rtol=0, atol=1e-3)


def test_digital_silence_is_the_logarithm_of_the_replacement():
    np.testing.assert_allclose(logmel(np.zeros(FRAMES * 128)), np.log(ZERO_REPLACEMENT), rtol=1e-6)


@pytest.mark.parametrize("frames", [1, 7, FRAMES])
def test_rows_past_the_true_frames_are_zero(frames):
    samples = np.random.default_rng(2).standard_normal(FRAMES * 128)
    result = logmel(samples, frames)
    assert not result[frames:].any()
    np.testing.assert_array_equal(result[:frames], logmel(samples)[:frames])


def test_only_values_at_or_below_zero_are_replaced():
    """1e-5 is no floor: a tone of amplitude 1e-9 stays far below log(1e-5)."""
    tone = 1e-9 * np.sin(2 * np.pi * 1_000 * np.arange(FRAMES * 128) / 16_000)
    assert logmel(tone).min() < np.log(ZERO_REPLACEMENT) - 5
