"""Beats -> the time signature and the first downbeat.

Bars begin where the bass and the harmony change, where long notes and many notes begin and where
the kick drum and the crash cymbal sound; snares stand between. Each hypothesis (beats per bar,
first downbeat) is described by how much its downbeats differ from its other beats in each of
these, and by how well the beats repeat after a bar. A linear model chooses.
"""

import dataclasses

import numpy as np

from mt3_model.notes.musical_time import TimeSignature
from mt3_model.rhythm.onset_strength import (
    CYMBALS,
    FRAMES_PER_SECOND,
    KICKS,
    SNARES,
    NoteArrays,
)

BAR_LENGTHS = (2, 3, 4)
"""The beats per bar that are considered. Fives and sevens are rare; the caller can name them."""
_ON_BEAT = 0.2
"""Beats by which the onset of a note on a beat may differ from it."""
_INNER = 0.12
"""Beats between a beat and the onset of a note that divides it."""
_NEAR_PLACE = 0.07
"""Beats by which such an onset may differ from a half, third or quarter of a beat."""
_PITCH_CLASSES = 12
_BASS = 55
"""Pitches below G3 are bass."""
_TRUSTED_BARS = 16
"""Bars after which more of them add no trust."""
_IN_THE_MIDDLE = frozenset({"harmony", "bass", "snare"})
"""The series that may be high in the middle of a bar of four beats."""
_COMPOUND_BARS = {2: 1.0, 3: 0.0, 4: -1.0}
"""Added to the scores of compound meters: 6/8 is more common than 12/8, unlike 2/4 and 4/4."""
_REPEATING = ("onsets", "length", "bass", "kick", "snare")
_LAGS = 4
_LONGEST = 4.0
"""Beats; longer notes count as this long."""

METER_WEIGHTS: dict[str, float] = {
    "bass": 0.5, "bass_change": -0.03, "bass_middle": 0.6, "crash": 1.2, "harmony": 1.63,
    "harmony_middle": 2.67, "harmony_wide": 1.17, "kick": 0.42, "length": 4.37, "onsets": 0.81,
    "per_bar_2": 0.23, "per_bar_3": -0.44, "per_bar_4": 0.2, "pickup": -1.37, "repeats": 0.86,
    "snare": -0.18, "snare_middle": -0.48,
}  # fmt: skip
"""The linear model, fitted as `tempo.WEIGHTS`."""
COMPOUND_BIAS = -1.82
COMPOUND_WEIGHTS = {
    "first_third": 2.3, "second_third": 1.29, "half": -3.58, "quarters": -2.03, "both_thirds": 2.56,
}  # fmt: skip
"""The same for whether beats divide into three."""


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


def find_meter(notes: NoteArrays, beats: np.ndarray, named: TimeSignature | None = None) -> Meter:
    """Choose the bars of a sequence of beats.

    Args:
        notes: the notes.
        beats: the times of the beats in seconds ``[B]``, at least two.
        named: the time signature that the caller named.
    """
    series = beat_series(notes, beats)
    compound = compound_probability(notes, beats)
    is_compound = named.is_compound if named is not None else compound > 0.5  # noqa: PLR2004
    lengths = BAR_LENGTHS if named is None else (named.beats_per_bar,)
    repeats = measure_repeats(series, max(lengths))
    bars = [(per_bar, first) for per_bar in lengths for first in range(per_bar)]
    scores = np.array(
        [
            sum(
                METER_WEIGHTS.get(name, 0.0) * value
                for name, value in hypothesis_features(series, repeats, per_bar, first).items()
            )
            + (_COMPOUND_BARS[per_bar] if is_compound and named is None else 0.0)
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
    )


def compound_probability(notes: NoteArrays, beats: np.ndarray) -> float:
    """Return the probability that each beat divides into three, not two or four."""
    features = subdivision_features(notes, beats)
    score = COMPOUND_BIAS + sum(COMPOUND_WEIGHTS[name] * value for name, value in features.items())
    return float(1 / (1 + np.exp(-score)))


def beat_series(notes: NoteArrays, beats: np.ndarray) -> dict[str, np.ndarray]:
    """Describe each beat by numbers that are high at downbeats.

    Args:
        notes: the notes.
        beats: the times of the beats in seconds ``[B]``.

    Returns:
        One array ``[B]`` per name, with mean 1 or all zeros.
    """
    positions = positions_in_beats(beats, notes.onsets)
    nearest = np.round(positions).astype(int)
    on_beat = (np.abs(positions - nearest) < _ON_BEAT) & (nearest >= 0) & (nearest < len(beats))
    lengths = np.minimum(positions_in_beats(beats, notes.offsets) - positions, _LONGEST)
    pitched = ~notes.is_drum

    def total(chosen: np.ndarray, weights: np.ndarray) -> np.ndarray:
        use = on_beat & chosen
        return np.bincount(nearest[use], weights=weights[use], minlength=len(beats))

    ones = np.ones(len(positions))
    longest = np.zeros(len(beats))
    use = on_beat & pitched
    np.maximum.at(longest, nearest[use], lengths[use])
    bass = np.zeros(len(beats))
    use = on_beat & pitched & (notes.pitches < _BASS)
    np.maximum.at(bass, nearest[use], lengths[use])
    chroma = beat_chroma(notes, beats)
    series = {
        "onsets": np.sqrt(total(pitched, ones)),
        "length": longest,
        "bass": bass,
        "harmony": _change(chroma, 1),
        "harmony_wide": _change(chroma, 2),
        "bass_change": _bass_change(notes, positions, len(beats)),
        "kick": np.minimum(total(notes.is_drum & np.isin(notes.pitches, list(KICKS)), ones), 1),
        "snare": np.minimum(total(notes.is_drum & np.isin(notes.pitches, list(SNARES)), ones), 1),
        "crash": np.minimum(total(notes.is_drum & np.isin(notes.pitches, list(CYMBALS)), ones), 1),
    }
    return {name: values / (values.mean() or 1.0) for name, values in series.items()}


def positions_in_beats(beats: np.ndarray, seconds: np.ndarray) -> np.ndarray:
    """Return times in beats, linear between and beyond the beats."""
    index = np.clip(np.searchsorted(beats, seconds, side="right") - 1, 0, len(beats) - 2)
    return index + (seconds - beats[index]) / (beats[index + 1] - beats[index])


def beat_chroma(notes: NoteArrays, beats: np.ndarray) -> np.ndarray:
    """Return how long each pitch class sounds in each beat, ``[B, 12]``, in beats."""
    pitched = ~notes.is_drum
    begins = positions_in_beats(beats, notes.onsets[pitched]) + 0.1
    ends = positions_in_beats(beats, notes.offsets[pitched])
    ends = np.minimum(ends, begins + _LONGEST)
    classes = notes.pitches[pitched] % _PITCH_CLASSES
    chroma = np.zeros((len(beats), _PITCH_CLASSES))
    first = np.floor(begins).astype(int)
    for later in range(int(_LONGEST) + 1):
        beat = first + later
        inside = np.minimum(ends, beat + 1) - np.maximum(begins, beat)
        use = (inside > 0) & (beat >= 0) & (beat < len(beats))
        np.add.at(chroma, (beat[use], classes[use]), inside[use])
    return chroma


def _change(chroma: np.ndarray, width: int) -> np.ndarray:
    """Return 1 minus the cosine between the chroma before and after each beat."""
    padded = np.concatenate(
        (np.zeros((width, _PITCH_CLASSES)), chroma, np.zeros((width, _PITCH_CLASSES)))
    )
    count = len(chroma)
    before = np.sum([padded[i : i + count] for i in range(width)], axis=0)
    after = np.sum([padded[width + i : width + i + count] for i in range(width)], axis=0)
    norms = np.linalg.norm(before, axis=1) * np.linalg.norm(after, axis=1)
    return np.where(norms > 0, 1 - (before * after).sum(axis=1) / np.maximum(norms, 1e-9), 0.0)


def _bass_change(notes: NoteArrays, positions: np.ndarray, count: int) -> np.ndarray:
    """Return 1 for each beat whose lowest note has another pitch class than the one before."""
    use = ~notes.is_drum & (notes.pitches < _BASS + 5)
    beat = np.round(positions[use]).astype(int)
    ok = (beat >= 0) & (beat < count)
    lowest = np.full(count, 999)
    np.minimum.at(lowest, beat[ok], notes.pitches[use][ok])
    changed = np.zeros(count)
    have = np.flatnonzero(lowest < 999)  # noqa: PLR2004
    if len(have) > 1:
        changed[have[1:]] = np.diff(lowest[have]) % _PITCH_CLASSES != 0
    return changed


def hypothesis_features(
    series: dict[str, np.ndarray], repeats: np.ndarray, per_bar: int, first: int
) -> dict[str, float]:
    """Describe one hypothesis by the numbers that `METER_WEIGHTS` weights."""
    trust = float(np.sqrt(min(len(series["onsets"]) / per_bar, _TRUSTED_BARS) / _TRUSTED_BARS))
    features: dict[str, float] = {}
    for name, values in series.items():
        features[name] = _contrast(values[first::per_bar], values) * trust
        if per_bar == 4 and name in _IN_THE_MIDDLE:  # noqa: PLR2004
            features[f"{name}_middle"] = _contrast(values[(first + 2) % 4 :: 4], values) * trust
    features["repeats"] = float(repeats[per_bar]) * trust
    features[f"per_bar_{per_bar}"] = 1.0
    features["pickup"] = float(first > 0)
    return features


def _contrast(chosen: np.ndarray, values: np.ndarray) -> float:
    return float(chosen.mean() - values.mean()) if len(chosen) else 0.0


def measure_repeats(series: dict[str, np.ndarray], longest: int) -> np.ndarray:
    """Return how similar beats are that lie 0 to ``longest`` apart, minus the mean of 1 to 4."""
    centered = [series[name] - series[name].mean() for name in _REPEATING]
    features = np.stack(centered, axis=1)
    norms = (features**2).sum() / len(features) + 1e-9
    values = np.zeros(max(longest, _LAGS) + 1)
    for lag in range(1, len(values)):
        if len(features) > lag + 2:
            values[lag] = (features[lag:] * features[:-lag]).sum() / (len(features) - lag) / norms
    return values - values[1 : _LAGS + 1].mean()


def subdivision_features(notes: NoteArrays, beats: np.ndarray) -> dict[str, float]:
    """Describe where in the beat notes begin, by the numbers that `COMPOUND_WEIGHTS` weights."""
    positions = positions_in_beats(beats, notes.onsets) % 1.0
    clusters = np.unique(np.round(notes.onsets * FRAMES_PER_SECOND / 3), return_index=True)[1]
    positions = positions[clusters]
    inner = (positions > _INNER) & (positions < 1 - _INNER)
    count = max(int(inner.sum()), 1)

    def share(place: float) -> float:
        return float((np.abs(positions - place) < _NEAR_PLACE).sum()) / count

    return {
        "first_third": share(1 / 3),
        "second_third": share(2 / 3),
        "half": share(1 / 2),
        "quarters": share(1 / 4) + share(3 / 4),
        "both_thirds": min(share(1 / 3), share(2 / 3)),
    }
