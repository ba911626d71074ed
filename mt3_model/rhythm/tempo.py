"""Onset strength -> the beats at the right metrical level.

The autocorrelation of the onset strength proposes beat periods, each with its multiples and
fractions. The beats of each proposal are tracked and described by a few numbers; a linear model
of them chooses. Half and double the tempo fit the onsets equally well, so the choice between them
needs knowledge of music: usual tempi, how many onsets a beat has, where kick and snare fall.
"""

import dataclasses

import numpy as np

from mt3_model.autocorrelation import sum_lagged_products
from mt3_model.notes.musical_time import TimeSignature
from mt3_model.rhythm.beat_tracking import track_beats
from mt3_model.rhythm.compound import compound_probability
from mt3_model.rhythm.onset_strength import (
    FRAMES_PER_SECOND,
    KICKS,
    SNARES,
    NoteArrays,
)
from mt3_model.rhythm.phase import accent

MIN_TEMPO, MAX_TEMPO = 42.0, 220.0
"""The tempi that are considered, in beats per minute."""
_USUAL_TEMPO = 110.0
_MAX_LAG = 200
"""Frames; two seconds."""
_PEAKS = 4
_MULTIPLES = (1.0, 2.0, 0.5, 3.0, 1 / 3, 1.5, 2 / 3)
_SAME_PERIOD = 0.06
"""Proposals whose logarithms differ by less count as one: tracking changes them by more."""
_TRACKED = 6
"""Number of proposals that are tracked; the others are rejected by features that need no beats."""
_NEAR_BEAT = 7
"""Frames between a beat and a drum on it."""
_MIN_DRUMS = 5

WEIGHTS = {
    "on_beat": 9.21,
    "on_half": 3.49,
    "on_thirds": -1.79,
    "on_quarters": 0.88,
    "tempo": 0.37,
    "tempo_squared": -2.12,
    "density": -0.06,
    "density_squared": -0.93,
    "backbeat": 1.52,
    "snares_on_beat": 2.04,
    "periodicity": 5.04,
    "compound": 0.15,
    "on_thirds_compound": 3.12,
    "accent": 0.21,
}
"""The linear model. Fitted (multinomial logistic regression) to synthetic performances of scores
and of generated band patterns, never to recordings; README.md describes them."""
_EARLY = ("tempo", "tempo_squared", "density", "density_squared", "periodicity")


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class BeatHypothesis:
    """One possible sequence of beats."""

    beats: np.ndarray
    """Frames ``[B]``, increasing."""
    probability: float
    """The probability of this metrical level among the hypotheses."""


def find_beats(
    notes: NoteArrays, strength: np.ndarray, start: float, named: TimeSignature | None = None
) -> BeatHypothesis | None:
    """Track the beats at the most probable tempo; None if no tempo can be tracked.

    Args:
        notes: the notes.
        strength: their onset strength ``[T]``.
        start: the time of the first frame in seconds.
        named: the time signature that the caller named: its beats divide into two or three.
    """

    def fit(hypothesis: BeatHypothesis) -> float:
        if named is None:
            return hypothesis.probability
        beats = start + hypothesis.beats / FRAMES_PER_SECOND
        compound = compound_probability(notes, beats)
        return hypothesis.probability * (compound if named.is_compound else 1 - compound)

    return max(compare_tempi(notes, strength, start), key=fit, default=None)


def compare_tempi(notes: NoteArrays, strength: np.ndarray, start: float) -> list[BeatHypothesis]:
    """Track the beats at each likely tempo."""
    periodicity = autocorrelate(strength)
    onsets = distinct_onsets(notes, start)
    early: list[tuple[float, float]] = []
    for period in propose_periods(periodicity):
        features = _level_features(period, periodicity, len(onsets), len(strength) / period)
        early.append((_score(features), period))
    tracked: list[np.ndarray] = []
    scores: list[float] = []
    likely = [period for _, period in sorted(early, reverse=True)[:_TRACKED]]
    for beats in track_beats(strength, likely):
        if len(beats) >= 3:  # noqa: PLR2004
            tracked.append(beats)
            features = measure_features(
                notes, strength, periodicity=periodicity, onsets=onsets, beats=beats, start=start
            )
            scores.append(_score(features))
    chances = np.exp(np.array(scores) - max(scores, default=0.0))
    return [
        BeatHypothesis(beats=beats, probability=float(chance / chances.sum()))
        for beats, chance in zip(tracked, chances, strict=True)
    ]


def distinct_onsets(notes: NoteArrays, start: float) -> np.ndarray:
    """Return the frames of onsets, those within 40 ms of one another as one."""
    return np.unique(np.round((notes.onsets - start) * FRAMES_PER_SECOND / 4)) * 4


def autocorrelate(strength: np.ndarray) -> np.ndarray:
    """Return the autocorrelation of the onset strength at lags 0 to `_MAX_LAG`, 1 at lag 0."""
    count = len(strength)
    sums = sum_lagged_products(strength - strength.mean(), _MAX_LAG)
    lags = np.arange(_MAX_LAG + 1)
    means = np.where(lags < count, sums / np.maximum(count - lags, 1), 0.0)
    return means / (means[0] + 1e-12)


def propose_periods(periodicity: np.ndarray) -> list[float]:
    """Return beat periods in frames: the highest peaks, their multiples and fractions."""
    lags = np.arange(26, 190)
    peaks = [int(lag) for lag in lags if periodicity[lag] >= periodicity[lag - 4 : lag + 5].max()]
    peaks.sort(key=lambda lag: -periodicity[lag])
    shortest = 60 * FRAMES_PER_SECOND / MAX_TEMPO
    longest = 60 * FRAMES_PER_SECOND / MIN_TEMPO
    periods: list[float] = []
    for peak in peaks[:_PEAKS]:
        for multiple in _MULTIPLES:
            period = peak * multiple
            if shortest <= period <= longest and all(
                abs(np.log(period / other)) > _SAME_PERIOD for other in periods
            ):
                periods.append(period)
    return periods


def measure_features(
    notes: NoteArrays,
    strength: np.ndarray,
    *,
    periodicity: np.ndarray,
    onsets: np.ndarray,
    beats: np.ndarray,
    start: float,
) -> dict[str, float]:
    """Describe a sequence of beats by the numbers that `WEIGHTS` weights."""
    intervals = np.diff(beats)
    period = float(np.median(intervals))

    def level(*fractions: float) -> float:
        places = [_highest_near(strength, beats[:-1] + f * intervals) for f in fractions]
        return float(np.mean([np.tanh(values / 3).mean() for values in places]))

    inside = (onsets >= beats[0] - period) & (onsets <= beats[-1] + period)
    backbeat, snares_on_beat = _drum_features(notes, beats, start)
    seconds = start + beats / FRAMES_PER_SECOND
    compound = compound_probability(notes, seconds)
    on_thirds = level(1 / 3, 2 / 3)
    return {
        "on_beat": level(0.0),
        "on_half": level(1 / 2),
        "on_thirds": on_thirds,
        "on_quarters": level(1 / 4, 3 / 4),
        **_level_features(period, periodicity, int(inside.sum()), float(len(beats))),
        "backbeat": backbeat,
        "snares_on_beat": snares_on_beat,
        "compound": compound,
        "on_thirds_compound": compound * on_thirds,
        "accent": _accent(notes, seconds, compound),
    }


def _accent(notes: NoteArrays, beats: np.ndarray, compound: float) -> float:
    """Return the evidence for the beats against that for places that divide them."""
    thirds = (accent(notes, beats, 1 / 3) + accent(notes, beats, 2 / 3)) / 2
    return compound * thirds + (1 - compound) * accent(notes, beats, 1 / 2)


def _level_features(
    period: float, periodicity: np.ndarray, onsets: int, beats: float
) -> dict[str, float]:
    """Describe a metrical level by features that need no beats."""
    tempo = float(np.log2(60 * FRAMES_PER_SECOND / period / _USUAL_TEMPO))
    density = float(np.log2(max(onsets, 1) / beats / 2))
    lag = min(round(period), _MAX_LAG)
    return {
        "tempo": tempo,
        "tempo_squared": tempo**2,
        "density": density,
        "density_squared": density**2,
        "periodicity": float(periodicity[lag]),
    }


def _score(features: dict[str, float]) -> float:
    return sum(WEIGHTS[name] * value for name, value in features.items())


def _highest_near(strength: np.ndarray, places: np.ndarray, reach: int = 3) -> np.ndarray:
    index = np.round(places).astype(int)
    around = index[:, None] + np.arange(-reach, reach + 1)
    return strength[np.clip(around, 0, len(strength) - 1)].max(axis=1)


def _drum_features(notes: NoteArrays, beats: np.ndarray, start: float) -> tuple[float, float]:
    """Measure whether kick and snare alternate from beat to beat, and whether snares are on beats.

    Returns:
        The share of kicks on beats of one parity plus that of snares on the other, 0 to 2; the
        share of snares on any beat. Both 0 without drums.
    """
    kicks, kick_count = _beats_of(notes, KICKS, beats, start)
    snares, snare_count = _beats_of(notes, SNARES, beats, start)
    if kick_count < _MIN_DRUMS or snare_count < _MIN_DRUMS:
        return 0.0, 0.0
    alternating = max(
        float((kicks % 2 == parity).sum() / kick_count + (snares % 2 != parity).sum() / snare_count)
        for parity in (0, 1)
    )
    return alternating, len(snares) / snare_count


def _beats_of(
    notes: NoteArrays, drums: frozenset[int], beats: np.ndarray, start: float
) -> tuple[np.ndarray, int]:
    """Return the beats on which these drums sound, and how many of them sound in all."""
    chosen = notes.are_drums(drums)
    frames = (notes.onsets[chosen] - start) * FRAMES_PER_SECOND
    after = np.clip(np.searchsorted(beats, frames), 1, len(beats) - 1)
    nearest = np.where(frames - beats[after - 1] < beats[after] - frames, after - 1, after)
    return nearest[np.abs(frames - beats[nearest]) < _NEAR_BEAT], len(frames)
