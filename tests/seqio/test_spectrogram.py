"""The front end equals TensorFlow's, which the model was trained with."""

import jax.numpy as jnp
import numpy as np
import pytest
import tensorflow as tf

from mt3_model import spec
from mt3_model.spectrogram.logmel import compute_logmel
from mt3_model.spectrogram.mel import analysis_window, mel_matrix
from tests.seqio.tensorflow_logmel import tensorflow_logmel

pytestmark = pytest.mark.seqio

SPECTROGRAM = spec.MT3.spectrogram


def test_mel_matrix_is_tensorflows() -> None:
    expected = tf.signal.linear_to_mel_weight_matrix(512, 1025, 16000, 20.0, 7600.0).numpy()
    np.testing.assert_array_equal(mel_matrix(SPECTROGRAM), expected)


def test_window_is_tensorflows() -> None:
    np.testing.assert_array_equal(
        analysis_window(SPECTROGRAM), tf.signal.hann_window(2048, periodic=True).numpy()
    )


def test_logmel_is_tensorflows() -> None:
    noise = np.random.default_rng(1).normal(0, 0.1, spec.MT3.segment_samples).astype(np.float32)
    ours = compute_logmel(jnp.asarray(noise[None]), jnp.asarray([256], jnp.int32), SPECTROGRAM)
    # float32 sums of up to 1,025 products in another order: relative 1e-6 in the mel at most a
    # few times, so the same absolutely in its logarithm.
    np.testing.assert_allclose(np.asarray(ours)[0], tensorflow_logmel(noise), atol=2e-5, rtol=0)


def test_frames_past_the_recording_are_zero_and_the_rest_is_tensorflows_of_the_cut() -> None:
    noise = np.random.default_rng(2).normal(0, 0.1, 40 * 128).astype(np.float32)
    padded = np.pad(noise, (0, spec.MT3.segment_samples - len(noise)))
    ours = np.asarray(
        compute_logmel(jnp.asarray(padded[None]), jnp.asarray([40], jnp.int32), SPECTROGRAM)
    )[0]
    np.testing.assert_allclose(ours[:40], tensorflow_logmel(noise), atol=2e-5, rtol=0)
    assert not ours[40:].any()
