"""Autocorrelation: the similarity of a series to itself some time later."""

import numpy as np


def sum_lagged_products(values: np.ndarray, last_lag: int) -> np.ndarray:
    """Return, for each lag k from 0 to ``last_lag``, the sum of ``values[i] * values[i + k]``.

    One transform takes the place of a product per lag (the Wiener-Khinchin theorem).

    Args:
        values: a series ``[N]``.
        last_lag: the greatest lag; sums from lag N on are 0 but for rounding.
    """
    # With this many zeros after the series, no product wraps around.
    length = len(values) + last_lag
    spectrum = np.fft.rfft(values, length)
    return np.fft.irfft(spectrum.real**2 + spectrum.imag**2, length)[: last_lag + 1]
