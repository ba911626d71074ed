"""The constant arrays of the front end, taken from TensorFlow: analysis window and mel matrix.

Both have textbook formulas (below), but the model was trained on TensorFlow's float32 results, and
the last bit matters. In near-silence the log-mel is the logarithm of rounding noise: a window that
differs from TensorFlow's by one unit in the last place (in 83 of its 2,048 values with NumPy's
float32 cosine, in 1,336 from float64) changed 1,076 cells of one golden segment by up to 15 and the
tokens of 6 of 102 golden segments. With TensorFlow's window the spectrum is equal bit for bit on
the CPU. Therefore the arrays are stored as data, `front_end.npz`, and a test compares them with the
formulas (`tests/unit/spectrogram/test_mel.py`).

`front_end.npz` was made with TensorFlow 2.19.1 on an x86-64 CPU::

    window = tf.signal.hann_window(2048, periodic=True)
    matrix = tf.signal.linear_to_mel_weight_matrix(512, 1025, 16000, 20.0, 7600.0)
    mel_rows, mel_columns = numpy.nonzero(matrix); mel_weights = matrix[mel_rows, mel_columns]

Formulas: window ``0.5 - 0.5 cos(2 pi n / 2048)``; HTK mel ``1127 ln(1 + hz / 700)``; weight
``max(0, min(rising, falling))`` of triangles of height one, evenly spaced in mel, with the DC row
zero. Two of the 512 filters are narrower than an FFT bin and stay empty.
Source: magenta/mt3 fa04532, spectral_ops.py:39 and 62, spectrograms.py:60.
"""

import functools
import pathlib

import numpy as np
from jaxtyping import Float32

from mt3_model.errors import OptionError
from mt3_model.spec import SpectrogramSpec

_ARRAYS = pathlib.Path(__file__).with_name("front_end.npz")
_STORED = SpectrogramSpec()
"""The front end of all published models, for which the arrays are stored."""


@functools.cache
def mel_matrix(spec: SpectrogramSpec) -> Float32[np.ndarray, "K F"]:
    """Return the weights ``[K, F]`` from a magnitude spectrum to mel bins, K = fft_size / 2 + 1."""
    _check_spec(spec)
    matrix = np.zeros((spec.fft_size // 2 + 1, spec.mel_bins), np.float32)
    with np.load(_ARRAYS) as arrays:
        matrix[arrays["mel_rows"], arrays["mel_columns"]] = arrays["mel_weights"]
    matrix.setflags(write=False)
    return matrix


@functools.cache
def analysis_window(spec: SpectrogramSpec) -> Float32[np.ndarray, "W"]:
    """Return the periodic Hann window ``[W]``, W = fft_size."""
    _check_spec(spec)
    with np.load(_ARRAYS) as arrays:
        window: np.ndarray = arrays["window"]
    window.setflags(write=False)
    return window


def _check_spec(spec: SpectrogramSpec) -> None:
    if spec != _STORED:
        raise OptionError(
            "spectrogram",
            f"spectrogram is {spec}; expected {_STORED}, the only one whose arrays are stored",
        )
