"""The recording's sound -> whether it is speech, which the model was not trained on.

Three signs must agree, all measured on the kept sound alone:

- Syllables: the loudness of speech rises and falls three to seven times a second, deeply (Scheirer
  and Slaney, "Construction and evaluation of a robust multifeature speech/music discriminator",
  ICASSP 1997). So does that of drums.
- No steady partials: the voice glides while it sounds, and a note or a drum's resonance keeps its
  spectrum for a tenth of a second.
- No beat: the loudness of speech does not repeat itself within two seconds, as that of a drum loop
  does.

A melody that is sung has steadier partials: `singing.py` finds it.
"""

from collections.abc import Iterator

import numpy as np
from jaxtyping import Float32, Float64

from mt3_model.autocorrelation import sum_lagged_products
from mt3_model.postprocessing.band_levels import BandLevels
from mt3_model.postprocessing.low_band import LowBand
from mt3_model.postprocessing.low_band_spectra import compute_spectra
from mt3_model.postprocessing.sound import RecordingSound

MIN_MODULATION = 0.12
"""Music without solo drums had at most .08 in nine of ten clips, speech at least .15
(`README.md`)."""
MAX_STEADINESS = 0.67
"""Music had at least .69, speech at most .65 except for one synthesizer (`README.md`)."""
MAX_PERIODICITY = 0.7
"""Speech had at most .35; a techno loop with the other two signs had .98 (`README.md`)."""
_VOICE_BANDS = slice(1, 3)
"""150 to 2,000 Hz."""
_SYLLABLES_HZ = (3.0, 7.0)
_MODULATION_LEVELS = 256
"""About 2 s."""
_PERIOD_LEVELS = 512
"""About 4 s: two of the longest periods."""
_PERIOD_SECONDS = (0.2, 2.0)
"""From a beat at 300 to a bar at 120 beats per minute."""
_SILENT_AMPLITUDE = 1e-4
_MIN_WINDOWS = 4
_WINDOW, _HOP = 256, 64
"""Samples of the low band: 64 and 16 ms."""
_LAG = 6
"""Hops between the spectra that are compared: 96 ms."""
_LOWEST_BIN = 6
"""94 Hz: below it are hum and the fundamentals of few voices."""
_SOUNDING_SHARE = 0.1
"""Share of the median energy below which a window is a pause."""
_FLOOR = 1e-9


def is_likely_speech(sound: RecordingSound) -> bool:
    """Return whether a recording is likely speech rather than music.

    Args:
        sound: the recording. Less than about 6 s of sound is never called speech.
    """
    return (
        measure_modulation(sound.band_levels) >= MIN_MODULATION
        and measure_steadiness(sound.low_band) <= MAX_STEADINESS
        and measure_periodicity(sound.band_levels) <= MAX_PERIODICITY
    )


def measure_modulation(levels: BandLevels) -> float:
    """Return how deep the loudness varies at 3 to 7 Hz; the median of windows of 2 s.

    The amplitude of 150 to 2,000 Hz is divided by its mean. The result is the power of its
    variation in that range: 1/8 for a sine of full depth. It is 0 for too short a recording.
    """
    frequencies = np.fft.rfftfreq(_MODULATION_LEVELS, 1.0 / levels.levels_per_second)
    is_syllable = (frequencies >= _SYLLABLES_HZ[0]) & (frequencies <= _SYLLABLES_HZ[1])
    found: list[float] = []
    for window in _sounding_windows(levels, _MODULATION_LEVELS):
        varied = (window / window.mean() - 1.0) * np.hanning(_MODULATION_LEVELS)
        spectrum = np.abs(np.fft.rfft(varied)) ** 2
        found.append(float(spectrum[is_syllable].sum()) / (_MODULATION_LEVELS**2 / 8))
    return float(np.median(found)) if len(found) >= _MIN_WINDOWS else 0.0


def measure_periodicity(levels: BandLevels) -> float:
    """Return how exactly the loudness repeats itself; the median of windows of 4 s.

    It is the greatest autocorrelation of the amplitude of 150 to 2,000 Hz, less its mean, at a lag
    of 0.2 to 2 s, normalized by the energies of both parts: 1 for exact repetition. It is 0 for too
    short a recording.
    """
    first, last = (round(seconds * levels.levels_per_second) for seconds in _PERIOD_SECONDS)
    lags = np.arange(first, last + 1)
    found: list[float] = []
    for window in _sounding_windows(levels, _PERIOD_LEVELS):
        varied = window - window.mean()
        products = sum_lagged_products(varied, last)[lags]
        energies = np.concatenate([[0.0], np.cumsum(varied**2)])
        both = energies[_PERIOD_LEVELS - lags] * (energies[-1] - energies[lags])
        found.append(float((products / np.sqrt(both + _FLOOR**2)).max()))
    return float(np.median(found)) if found else 0.0


def measure_steadiness(sound: LowBand) -> float:
    """Return the cosine similarity of magnitude spectra 96 ms apart, 1 for a recording too short.

    It is the median over moments that sound.
    """
    similarities: list[Float32[np.ndarray, " T"]] = []
    energies: list[Float32[np.ndarray, " T"]] = []
    for whole in compute_spectra(sound, window=_WINDOW, hop=_HOP, least=_LAG + 2):
        spectra = whole[:, _LOWEST_BIN:]
        energy = (spectra**2).sum(axis=1)
        directions = spectra / (np.sqrt(energy) + np.float32(_FLOOR))[:, None]
        similarities.append((directions[:-_LAG] * directions[_LAG:]).sum(axis=1))
        energies.append(np.minimum(energy[:-_LAG], energy[_LAG:]))
    if not energies:
        return 1.0
    energy, similarity = np.concatenate(energies), np.concatenate(similarities)
    is_silent = energy < _SILENT_AMPLITUDE
    if is_silent.all():
        return 1.0
    return float(np.median(similarity[energy > _SOUNDING_SHARE * np.median(energy[~is_silent])]))


def _sounding_windows(levels: BandLevels, length: int) -> Iterator[Float64[np.ndarray, " L"]]:
    """Yield the amplitudes of 150 to 2,000 Hz in windows that overlap by half, pauses left out."""
    powers = 10.0 ** (levels.values()[:, _VOICE_BANDS].astype(np.float64) / 10.0)
    amplitudes = np.sqrt(powers.sum(axis=1))
    for first in range(0, len(amplitudes) - length, length // 2):
        window = amplitudes[first : first + length]
        if window.mean() >= _SILENT_AMPLITUDE:
            yield window
