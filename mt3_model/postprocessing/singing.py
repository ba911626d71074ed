"""The recording's sound -> whether a voice sings in it, on which the model was not trained.

Two signs must agree, both measured on the kept sound alone:

- Glides: a voice moves its pitch all the time, from note to note and in its vibrato, and all its
  partials move together. The spectrum of a moment, shifted along a logarithmic frequency axis, is
  then that of the next one (the "fluctogram" of Lehner, Widmer and Sonnleitner, "On the reduction
  of false positives in singing voice detection", ICASSP 2014). Piano, guitar, drums and most
  ensembles hardly do that; bowed strings and winds with vibrato do.
- Articulation: vowels and consonants change the balance of low and high frequencies, and consonants
  hiss while the rest is silent. An instrument's high partials rise and fall with its low ones.

A singer in a band is found only where the voice dominates (`README.md`).
"""

import functools

import numpy as np
from jaxtyping import Bool, Float32, Float64, Int64

from mt3_model.postprocessing.band_levels import BandLevels
from mt3_model.postprocessing.low_band import LowBand
from mt3_model.postprocessing.low_band_spectra import compute_spectra
from mt3_model.postprocessing.sound import RecordingSound

MIN_GLIDES = 0.04
"""Singing alone had at least .05; music without vibrato at most .03 in 99 % of recordings
(`README.md`)."""
MIN_ARTICULATION = 0.0
"""Log odds at which one in fifty imitations of vibrato on instruments was taken for a voice."""
_MIN_MOMENTS = 100
"""3.2 s of sound."""

_WINDOW, _HOP, _FFT_SIZE = 256, 128, 1024
"""Samples of the low band: 64 and 32 ms, and zeros for a finer frequency axis."""
_LOWEST_HZ, _HIGHEST_HZ = 200.0, 1_900.0
_CENTS = 20.0
"""Step of the frequency axis. A vibrato of 50 cents at 6 Hz moves by 60 cents in 32 ms at most."""
_LAGS = range(-6, 7)
_MIN_SIMILARITY = 0.85
"""Similarity below which the next moment counts as another note."""
_MIN_GAIN = 0.01
"""Minimum gain in similarity of the shifted spectrum over the unshifted one."""
_SILENT_ENERGY = 1e-5
_SOUNDING_SHARE = 0.05
"""Share of the median energy below which a moment is a pause."""

_LEVELS_PER_MOMENT = 4
"""32 ms."""
_LOW_BANDS, _MIDDLE_BAND, _HIGH_BAND = slice(1, 3), 3, 4
"""150 to 2,000 Hz, 2 to 5 kHz, 5 to 8 kHz."""
_CHANGE_MOMENTS = 4
"""128 ms, about the length of a consonant with its borders."""
_SILENT_DB, _PAUSE_DB = -80.0, 25.0
_HISS_DB = 3.0
_BALANCE_WEIGHT, _HISS_WEIGHT, _TOGETHER_WEIGHT, _BIAS = 0.266, 1.08, -2.91, 3.75
"""Fitted by logistic regression (`README.md`)."""
_GREATEST_BALANCE_DB = 15.0
_LEAST_HISS = 0.003


def is_likely_singing(sound: RecordingSound) -> bool:
    """Return whether a recording is likely that of a singer, alone or in front.

    Speech has both signs too: call `is_likely_speech` first.

    Args:
        sound: the recording. Less than about 4 s of sound is never called singing.
    """
    return (
        measure_glides(sound.low_band) >= MIN_GLIDES
        and measure_articulation(sound.band_levels) >= MIN_ARTICULATION
    )


def measure_glides(sound: LowBand) -> float:
    """Return the share of moments in which the pitch glides on, 0 for a recording too short.

    A moment counts where all partials move by at least 20 cents within 32 ms and did so, in the
    same direction, in the 32 ms before.
    """
    energies: list[Float32[np.ndarray, " T"]] = []
    lags: list[Int64[np.ndarray, " T"]] = []
    for spectra in compute_spectra(
        sound, window=_WINDOW, hop=_HOP, fft_size=_FFT_SIZE, least=_CHANGE_MOMENTS
    ):
        bins, _ = _log_frequency_axis(sound.sample_rate)
        energy = (spectra[:, bins[0] :] ** 2).sum(axis=1)
        energies.append(np.minimum(energy[:-1], energy[1:]))
        lags.append(_find_shifts(_to_log_frequency(spectra, sound.sample_rate)))
    if not energies:
        return 0.0
    energy, lag = np.concatenate(energies), np.concatenate(lags)
    is_loud = energy > _SILENT_ENERGY
    if not is_loud.any():
        return 0.0
    is_sounding = energy > _SOUNDING_SHARE * np.median(energy[is_loud])
    if is_sounding.sum() < _MIN_MOMENTS:
        return 0.0
    glides = is_sounding[1:] & is_sounding[:-1] & (lag[1:] * lag[:-1] > 0)
    return float(glides.sum() / is_sounding.sum())


def measure_articulation(levels: BandLevels) -> float:
    """Return the log odds that the changes of timbre are those of a voice that pronounces words.

    The odds are those of a logistic regression on three measures: how much the balance of
    2 to 5 kHz and 150 to 2,000 Hz changes within 128 ms (standard deviation, dB); the share of
    moments in which 5 to 8 kHz is about as loud as 150 to 2,000 Hz; and the correlation of the
    changes of these two bands. They are -inf for too short a recording.
    """
    low, middle, high, is_sounding = _moments(levels)
    pairs = is_sounding[_CHANGE_MOMENTS:] & is_sounding[:-_CHANGE_MOMENTS]
    if pairs.sum() < _MIN_MOMENTS:
        return -np.inf
    low_changes, high_changes, balance_changes = (
        (each[_CHANGE_MOMENTS:] - each[:-_CHANGE_MOMENTS])[pairs]
        for each in (low, high, middle - low)
    )
    hiss = np.mean(high[is_sounding] > low[is_sounding] - _HISS_DB)
    return float(
        _BALANCE_WEIGHT * min(np.std(balance_changes), _GREATEST_BALANCE_DB)
        + _HISS_WEIGHT * np.log(hiss + _LEAST_HISS)
        + _TOGETHER_WEIGHT * _correlate(low_changes, high_changes)
        + _BIAS
    )


def _correlate(first: Float64[np.ndarray, " T"], second: Float64[np.ndarray, " T"]) -> float:
    """Return the correlation coefficient, 1 where one does not change."""
    if first.std() == 0 or second.std() == 0:
        return 1.0
    return float(np.corrcoef(first, second)[0, 1])


def _find_shifts(spectra: Float32[np.ndarray, "T F"]) -> Int64[np.ndarray, " t"]:
    """Return by how many steps each spectrum is shifted against the one before; 0 if unclear.

    Args:
        spectra: centered and of length 1, on a logarithmic frequency axis.

    Returns:
        T - 1 numbers of steps of 20 cents.
    """
    width = spectra.shape[1]
    similarities = np.stack(
        [
            np.einsum(
                "tf,tf->t",
                spectra[:-1, max(0, -lag) : width - max(0, lag)],
                spectra[1:, max(0, lag) : width - max(0, -lag)],
            )
            for lag in _LAGS
        ],
        axis=1,
    )
    best = similarities.argmax(axis=1)
    similarity = similarities.max(axis=1)
    is_clear = (
        (similarity > _MIN_SIMILARITY)
        & (similarity > similarities[:, _LAGS.index(0)] + _MIN_GAIN)
        & (best > 0)
        & (best < len(_LAGS) - 1)
    )
    return np.where(is_clear, best + _LAGS.start, 0)


def _to_log_frequency(
    spectra: Float32[np.ndarray, "T F"], sample_rate: float
) -> Float32[np.ndarray, "T F2"]:
    """Return the square roots of magnitudes every 20 cents, centered and of length 1."""
    bins, part = _log_frequency_axis(sample_rate)
    values = np.sqrt(spectra[:, bins] * (1 - part) + spectra[:, bins + 1] * part)
    values -= values.mean(axis=1, keepdims=True)
    lengths = np.sqrt(np.einsum("tf,tf->t", values, values))
    return values / (lengths + np.float32(1e-6))[:, None]


@functools.cache
def _log_frequency_axis(
    sample_rate: float,
) -> tuple[Int64[np.ndarray, " F"], Float32[np.ndarray, " F"]]:
    """Return the bin below each frequency and the distance from it, in bins."""
    count = int(1200 * np.log2(_HIGHEST_HZ / _LOWEST_HZ) / _CENTS)
    frequencies = _LOWEST_HZ * 2.0 ** (np.arange(count) * _CENTS / 1200)
    positions = frequencies * _FFT_SIZE / sample_rate
    bins = positions.astype(np.int64)
    return bins, (positions - bins).astype(np.float32)


def _moments(
    levels: BandLevels,
) -> tuple[
    Float64[np.ndarray, " T"],
    Float64[np.ndarray, " T"],
    Float64[np.ndarray, " T"],
    Bool[np.ndarray, " T"],
]:
    """Return the low, middle and high levels of moments of 32 ms, dB, and which of them sound."""
    values = levels.values().astype(np.float64)
    count = len(values) // _LEVELS_PER_MOMENT
    powers = 10.0 ** (values[: count * _LEVELS_PER_MOMENT] / 10.0)
    powers = powers.reshape(count, _LEVELS_PER_MOMENT, values.shape[1]).mean(axis=1) + 1e-9
    low, total = (10.0 * np.log10(p.sum(axis=1)) for p in (powers[:, _LOW_BANDS], powers))
    middle, high = (10.0 * np.log10(powers[:, band]) for band in (_MIDDLE_BAND, _HIGH_BAND))
    is_loud = total > _SILENT_DB
    if not is_loud.any():
        return low, middle, high, is_loud
    return low, middle, high, total > np.median(total[is_loud]) - _PAUSE_DB
