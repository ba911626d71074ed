"""The stored arrays equal their formulas."""

import dataclasses

import numpy as np
import pytest

from mt3_model.errors import OptionError
from mt3_model.spec import MT3
from mt3_model.spectrogram.mel import analysis_window, mel_matrix

SPEC = MT3.spectrogram


def test_window_is_the_periodic_hann_to_float32_rounding():
    n = np.arange(2_048)
    expected = 0.5 - 0.5 * np.cos(2 * np.pi * n / 2_048)
    # Four units in the last place of 1.0: TensorFlow's float32 cosine of a float32 argument.
    np.testing.assert_allclose(analysis_window(SPEC), expected, rtol=0, atol=2.5e-7)


def test_mel_matrix_is_the_htk_formula_to_float32_rounding():
    def mel(hertz):
        return 1_127.0 * np.log1p(hertz / 700.0)

    bins = mel(np.linspace(0, 8_000, 1_025))[:, None]
    edges = np.linspace(mel(20.0), mel(7_600.0), 514)
    rising = (bins - edges[:-2]) / (edges[1:-1] - edges[:-2])
    falling = (edges[2:] - bins) / (edges[2:] - edges[1:-1])
    expected = np.maximum(0, np.minimum(rising, falling))
    expected[0] = 0
    # Mel values near 2,840 have float32 steps of 2.4e-4; a slope spans 5.5 mel: 2.4e-4 / 5.5 each
    # for the bin and for the edge.
    np.testing.assert_allclose(mel_matrix(SPEC), expected, rtol=0, atol=2e-4)


def test_the_dc_row_and_two_filters_are_empty():
    matrix = mel_matrix(SPEC)
    assert not matrix[0].any()
    assert (matrix.sum(axis=0) == 0).sum() == 2


def test_another_front_end_is_rejected():
    with pytest.raises(OptionError, match="hop_width=64"):
        mel_matrix(dataclasses.replace(SPEC, hop_width=64))


def test_the_arrays_cannot_be_changed_by_accident():
    with pytest.raises(ValueError, match="read-only"):
        mel_matrix(SPEC)[3, 3] = 1.0
