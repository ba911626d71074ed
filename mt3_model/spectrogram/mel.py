"""The front end's two frozen arrays, as TensorFlow has them: analysis window and mel matrix.

Both have textbook formulas (below), but the model was trained and is measured on TensorFlow's
float32 results, and the last bit matters where one would not expect it. In near-silence the
log-mel is the logarithm of rounding noise: a window one unit in the last place away from
TensorFlow's (83 of its 2,048 values, from NumPy's float32 cosine; 1,336 from float64) moved 1,076
cells of one golden segment by up to 15 and changed the tokens of 6 of 102 golden segments. With
TensorFlow's own window the spectrum is equal bit for bit on the CPU. So the arrays are data,
`front_end.npz`, and the formulas are its test (`tests/unit/spectrogram/test_mel.py`).

How `front_end.npz` was made, with TensorFlow 2.19.1 on an x86-64 CPU::

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
_FROZEN = SpectrogramSpec()
"""The only front end that the published models use, and the one that is frozen here."""


@functools.cache
def mel_matrix(spec: SpectrogramSpec) -> Float32[np.ndarray, "K F"]:
    """Weights ``[fft_size / 2 + 1, mel_bins]`` that turn a magnitude spectrum into mel bins."""
    _require_frozen(spec)
    matrix = np.zeros((spec.fft_size // 2 + 1, spec.mel_bins), np.float32)
    with np.load(_ARRAYS) as arrays:
        matrix[arrays["mel_rows"], arrays["mel_columns"]] = arrays["mel_weights"]
    matrix.setflags(write=False)
    return matrix


@functools.cache
def analysis_window(spec: SpectrogramSpec) -> Float32[np.ndarray, "W"]:
    """The periodic Hann window ``[fft_size]``."""
    _require_frozen(spec)
    with np.load(_ARRAYS) as arrays:
        window: np.ndarray = arrays["window"]
    window.setflags(write=False)
    return window


def _require_frozen(spec: SpectrogramSpec) -> None:
    if spec != _FROZEN:
        raise OptionError(
            "spectrogram",
            f"spectrogram is {spec}; expected {_FROZEN}, the only one whose arrays are frozen",
        )
