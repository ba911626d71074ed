"""The original's log-mel spectrogram, computed by TensorFlow."""

import numpy as np
import tensorflow as tf


def tensorflow_logmel(samples: np.ndarray) -> np.ndarray:
    """Magnitude, mel, logarithm, as ddsp's ``compute_logmel`` does. Source: spectral_ops.py."""
    transformed = tf.signal.stft(samples, 2048, 128, 2048, pad_end=True)
    matrix = tf.signal.linear_to_mel_weight_matrix(512, 1025, 16000, 20.0, 7600.0)
    mel = tf.tensordot(tf.abs(transformed), matrix, 1)
    return tf.math.log(tf.where(mel <= 0.0, 1e-5, mel)).numpy()
