"""Writes the golden files of this folder from TensorFlow; never imported by tests.

    .venv-seqio/bin/python tests/golden/make_golden.py

Needs the environment of `requirements-seqio.lock`. `PROVENANCE.md` says what each file holds and
from which run the committed ones are.
"""

import pathlib

import numpy as np
import tensorflow as tf

FOLDER = pathlib.Path(__file__).parent
SAMPLE_RATE = 16_000
FFT_SIZE = 2_048
HOP_WIDTH = 128
MEL_BINS = 512
FRAMES = 24


def main() -> None:
    """Writes every file."""
    matrix = tf.signal.linear_to_mel_weight_matrix(
        MEL_BINS, FFT_SIZE // 2 + 1, SAMPLE_RATE, 20.0, 7600.0
    ).numpy()
    rows, columns = np.nonzero(matrix)
    np.savez_compressed(
        FOLDER / "mel_matrix.npz",
        shape=np.array(matrix.shape, np.int32),
        rows=rows.astype(np.int16),
        columns=columns.astype(np.int16),
        weights=matrix[rows, columns],
        window=tf.signal.hann_window(FFT_SIZE, periodic=True).numpy(),
    )
    samples = chirp_in_noise()
    np.savez_compressed(
        FOLDER / "logmel.npz", samples=samples, logmel=compute_logmel(samples, matrix)
    )


def chirp_in_noise() -> np.ndarray:
    """Return a tone rising from 100 Hz to 7 kHz over faint noise: sound in every mel bin."""
    count = FRAMES * HOP_WIDTH
    time = np.arange(count) / SAMPLE_RATE
    seconds = count / SAMPLE_RATE
    phase = 2 * np.pi * (100 * time + (7000 - 100) / seconds * time**2 / 2)
    noise = np.random.default_rng(0).normal(0, 0.01, count)
    return (0.5 * np.sin(phase) + noise).astype(np.float32)


def compute_logmel(samples: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """Magnitude, mel, logarithm. Source: magenta/mt3 fa04532, spectrograms.py, spectral_ops.py."""
    transformed = tf.signal.stft(samples, FFT_SIZE, HOP_WIDTH, FFT_SIZE, pad_end=True)
    mel = tf.tensordot(tf.abs(transformed), matrix, 1)
    return tf.math.log(tf.where(mel <= 0.0, 1e-5, mel)).numpy()


if __name__ == "__main__":
    main()
