"""Beats -> the time signature and the first downbeat.

Each hypothesis (beats per bar, first downbeat) is described by how much its downbeats differ from
its other beats in each of the series of `beat_series.py`, and by how well the rhythm repeats after
a bar. A linear model chooses.
"""

import dataclasses

import numpy as np

from mt3_model.notes.musical_time import TimeSignature
from mt3_model.rhythm.beat_series import beat_series, rhythm_grid
from mt3_model.rhythm.compound import compound_probability
from mt3_model.rhythm.onset_strength import NoteArrays

BAR_LENGTHS = (2, 3, 4)
"""The beats per bar that are considered. Fives and sevens are rare; the caller can name them."""
_TRUSTED_BARS = 16
"""Number of bars beyond which further bars do not strengthen the evidence."""
_IN_THE_MIDDLE = frozenset(
    {"onsets", "length", "fresh", "gap", "bass_change", "harmony", "harmony_wide", "kick"}
)
"""The series that may be high in the middle of a bar of four beats."""
_REPEATING = ("onsets", "length", "bass", "kick", "snare")
_LAGS = 4
_RHYTHM_LAGS = 12
"""Largest lag in beats: a common multiple of two, three and four, so that every meter has whole
bars."""
_STEPS, _COMPOUND_STEPS = 4, 6
"""The steps of a beat at which rhythms are compared."""
_DRUM_SHARE = 0.5
"""There is a drum kit if this share of the beats has a kick or a snare."""

METER_WEIGHTS: dict[str, float] = {
    "bass": 0.3, "compound_2": 1.24, "compound_3": 1.13, "compound_4": -1.51, "crash": 0.28,
    "drums_in_two": -3.0, "fill": 0.64, "fresh": 1.72, "fresh_middle": -0.55, "gap_middle": 1.87,
    "harmony": 1.76, "harmony_middle": 1.11, "harmony_wide": 2.96, "harmony_wide_middle": 1.13,
    "kick": 0.76, "kick_middle": -0.42, "length": 2.6, "length_middle": 0.42,
    "onsets_middle": -0.55, "per_bar_2": 0.07, "per_bar_3": -0.41, "per_bar_4": 0.32,
    "pickup": -1.63, "pickup_of_one": 1.1, "repeats": 1.28, "rhythm": 2.62,
    "rhythm_over_half": 0.42, "snare": -0.95,
}  # fmt: skip
"""The linear model, fitted as `tempo.WEIGHTS`. Only ``drums_in_two`` was set by hand, because no
score of the corpus has a drum kit: music with one is written in 4/4 rather than in 2/4."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Meter:
    """The bars of a sequence of beats."""

    beats_per_bar: int
    first_downbeat: int
    """Index of a beat, less than ``beats_per_bar``."""
    is_compound: bool
    """Whether each beat divides into three."""
    probability: float
    """The probability of these bars among the hypotheses."""
    score: float
    """The log of the chance by the linear model, not normalized; used to compare sequences of beats
    of the same notes."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class BarEvidence:
    """The evidence by which bars of a sequence of beats are chosen."""

    series: dict[str, np.ndarray]
    """From `beat_series`, ``[B]`` each."""
    repeats: np.ndarray
    """The similarity of beats that lie 0 to 12 apart, by accents."""
    rhythm: np.ndarray
    """The same by onsets inside the beats."""
    is_compound: bool
    has_drums: bool
    """Whether kicks and snares sound."""


def find_meter(notes: NoteArrays, beats: np.ndarray, named: TimeSignature | None = None) -> Meter:
    """Choose the bars of a sequence of beats.

    Args:
        notes: the notes.
        beats: the times of the beats in seconds ``[B]``, at least two.
        named: the time signature that the caller named.
    """
    compound = compound_probability(notes, beats)
    is_compound = named.is_compound if named is not None else compound > 0.5  # noqa: PLR2004
    evidence = measure_evidence(notes, beats, is_compound=is_compound)
    lengths = BAR_LENGTHS if named is None else (named.beats_per_bar,)
    bars = [(per_bar, first) for per_bar in lengths for first in range(per_bar)]
    scores = np.array(
        [
            sum(
                METER_WEIGHTS.get(name, 0.0) * value
                for name, value in hypothesis_features(evidence, per_bar, first).items()
            )
            for per_bar, first in bars
        ]
    )
    chances = np.exp(scores - scores.max())
    best = int(chances.argmax())
    per_bar, first = bars[best]
    division = 1.0 if named is not None else max(compound, 1 - compound)
    return Meter(
        beats_per_bar=per_bar,
        first_downbeat=first,
        is_compound=is_compound,
        probability=float(chances[best] / chances.sum()) * division,
        score=float(scores[best]),
    )


def measure_evidence(notes: NoteArrays, beats: np.ndarray, *, is_compound: bool) -> BarEvidence:
    """Measure the evidence for bars.

    Args:
        notes: the notes.
        beats: the times of the beats in seconds ``[B]``, at least two.
        is_compound: whether each beat divides into three.
    """
    series = beat_series(notes, beats)
    accents = np.stack([series[name] for name in _REPEATING], axis=1)
    drum_beats = np.count_nonzero(series["kick"] + series["snare"])
    grid = rhythm_grid(notes, beats, _COMPOUND_STEPS if is_compound else _STEPS)
    return BarEvidence(
        series=series,
        repeats=_self_similarity(accents),
        rhythm=_self_similarity(grid),
        is_compound=is_compound,
        has_drums=bool(drum_beats >= _DRUM_SHARE * len(beats)),
    )


def hypothesis_features(evidence: BarEvidence, per_bar: int, first: int) -> dict[str, float]:
    """Describe one hypothesis by the numbers that `METER_WEIGHTS` weights."""
    bars = len(evidence.series["onsets"]) / per_bar
    trust = float(np.sqrt(min(bars, _TRUSTED_BARS) / _TRUSTED_BARS))
    features: dict[str, float] = {}
    for name, values in evidence.series.items():
        features[name] = _contrast(values[first::per_bar], values) * trust
        if per_bar == 4 and name in _IN_THE_MIDDLE:  # noqa: PLR2004
            features[f"{name}_middle"] = _contrast(values[(first + 2) % 4 :: 4], values) * trust
    if 1 < per_bar <= _RHYTHM_LAGS:
        near = evidence.repeats[1 : _LAGS + 1].mean()
        features["repeats"] = float(evidence.repeats[per_bar] - near) * trust
        lags = np.arange(1, _RHYTHM_LAGS + 1)
        rhythm = evidence.rhythm[1:]
        same = rhythm[lags % per_bar == 0].mean()
        features["rhythm"] = float(same - rhythm[lags % per_bar != 0].mean()) * trust
        if per_bar == 4:  # noqa: PLR2004
            features["rhythm_over_half"] = float(same - rhythm[lags % 4 == 2].mean()) * trust  # noqa: PLR2004
    features[f"per_bar_{per_bar}"] = 1.0
    features[f"compound_{per_bar}"] = float(evidence.is_compound)
    features["drums_in_two"] = float(
        evidence.has_drums and per_bar == 2 and not evidence.is_compound  # noqa: PLR2004
    )
    features["pickup"] = float(first > 0)
    features["pickup_of_one"] = float(first == 1)
    return features


def _contrast(chosen: np.ndarray, values: np.ndarray) -> float:
    return float(chosen.mean() - values.mean()) if len(chosen) else 0.0


def _self_similarity(rows: np.ndarray) -> np.ndarray:
    """Return the autocorrelation of rows ``[B, N]`` at lags 0 to `_RHYTHM_LAGS`; 0 at lag 0."""
    centered = rows - rows.mean(axis=0)
    power = float((centered**2).sum()) / len(rows) + 1e-9
    values = np.zeros(_RHYTHM_LAGS + 1)
    for lag in range(1, min(_RHYTHM_LAGS, len(rows) - 3) + 1):
        product = float((centered[lag:] * centered[:-lag]).sum())
        values[lag] = product / (len(rows) - lag) / power
    return values
