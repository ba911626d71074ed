"""Window, mel matrix and log-mel equal TensorFlow's, without installing TensorFlow.

`tests/golden/PROVENANCE.md` says where the arrays come from. They were made by another release
than those that `mel.py` loads, so equality also says that TensorFlow kept its arithmetic.
"""

import pathlib

import jax.numpy as jnp
import numpy as np

from mt3_model import spec
from mt3_model.spectrogram.logmel import compute_logmel
from mt3_model.spectrogram.mel import analysis_window, mel_matrix

GOLDEN = pathlib.Path(__file__).parent.parent / "golden"
SPECTROGRAM = spec.MT3.spectrogram


def test_mel_matrix_is_tensorflows_bit_for_bit() -> None:
    with np.load(GOLDEN / "mel_matrix.npz") as golden:
        expected = np.zeros(golden["shape"], np.float32)
        expected[golden["rows"], golden["columns"]] = golden["weights"]
    np.testing.assert_array_equal(mel_matrix(SPECTROGRAM), expected)


def test_window_is_tensorflows_bit_for_bit() -> None:
    with np.load(GOLDEN / "mel_matrix.npz") as golden:
        np.testing.assert_array_equal(analysis_window(SPECTROGRAM), golden["window"])


def test_logmel_is_tensorflows() -> None:
    with np.load(GOLDEN / "logmel.npz") as golden:
        samples, expected = golden["samples"], golden["logmel"]
    frames = jnp.asarray([len(expected)], jnp.int32)
    ours = np.asarray(compute_logmel(jnp.asarray(samples[None]), frames, SPECTROGRAM))[0]
    # Two filters are empty: log(1e-5) on both sides. Elsewhere there is sound in every bin, and
    # float32 sums in another order differ by some 1e-6 of the mel, so of its logarithm.
    np.testing.assert_allclose(ours, expected, atol=2e-5, rtol=0)
