"""Onset strength -> beats, by dynamic programming over time and beat period.

The idea is Ellis's (Source: D. P. W. Ellis, "Beat Tracking by Dynamic Programming", J. New Music
Research 36(1), 2007): the best sequence of beats that ends in a frame is the best one that ended a
beat period earlier, plus that frame's onset strength. Ellis has one period for the recording and a
penalty for intervals that differ from it. Here the period is part of the state and may drift by a
few percent per beat, so that a slow ritardando costs little and each beat follows the one before.
"""

import dataclasses
from collections.abc import Sequence

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

_PERIOD_STEP = 0.025
"""Ratio between neighboring periods, minus 1."""
_STEPS_EACH_WAY = 11
"""The period may leave the candidate by a factor of 1.025 ** 11 = 1.31, less than half an
octave, so that the beats cannot change over to half or double the tempo."""
_LARGEST_CHANGE = 2
"""Steps that the period may change per beat: 5 %."""
_DRIFT = 0.02
"""Standard deviation of the logarithm of the period's change per beat, 2 %. The value matters
little: 1.5 to 3 % change the beat F-measure by less than .01 (README.md)."""
_CELLS = 8_000_000
"""Maximum number of totals of one search, two arrays of 32 MiB: several tempi of a song of some
minutes, or one of an hour. Several at once take half the time, most of which is the overhead of
NumPy's calls."""


def track_beats(
    strength: np.ndarray, tempi: Sequence[float], *, steps: int = _STEPS_EACH_WAY
) -> list[np.ndarray]:
    """Return the frames ``[B]`` of the best sequence of beats near each of some tempi.

    Args:
        strength: the onset strength ``[T]``.
        tempi: the beat period of each tempo in frames, at least 10.
        steps: steps of 2.5 % by which the period may leave that of the tempo.
    """
    ratios = (1 + _PERIOD_STEP) ** np.arange(-steps, steps + 1)
    strength = strength.astype(np.float32)
    at_once = max(_CELLS // (len(strength) * (len(ratios) + 2 * _LARGEST_CHANGE)), 1)
    found: list[np.ndarray] = []
    for first in range(0, len(tempi), at_once):
        columns = _Columns.of_tempi(tempi[first : first + at_once], ratios)
        totals = _search(strength, columns)
        found.extend(_follow_back(totals, columns, each) for each in columns.of_tempo)
    return found


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class _Columns:
    """The columns of the search, one per period: those of one tempo after those of another.

    Two columns without a period are on either side of those of a tempo, so that a change of the
    period never leads to another tempo.
    """

    periods: np.ndarray
    """Frames ``[W]``; in a column without a period, that of a neighbor."""
    gains: np.ndarray
    """The factor of the onset strength ``[W]``, 0 in columns without a period. It is a gain per
    time, not per beat: otherwise faster sequences would gain by having more beats."""
    costs: np.ndarray
    """The cost of a beat of each column after one of the columns 2 before to 2 after ``[C, W]``;
    infinite if one of the two has no period."""
    of_tempo: tuple[slice, ...]
    """The columns of each tempo."""

    @classmethod
    def of_tempi(cls, tempi: Sequence[float], ratios: np.ndarray) -> "_Columns":
        beside = _LARGEST_CHANGE
        periods = [np.unique(np.round(period * ratios).astype(int)) for period in tempi]
        gains = [each / period for each, period in zip(periods, tempi, strict=True)]
        ends = np.cumsum([len(each) + 2 * beside for each in periods]).tolist()
        return cls(
            periods=np.concatenate([np.pad(each, beside, mode="edge") for each in periods]),
            gains=np.concatenate([np.pad(each, beside) for each in gains]).astype(np.float32),
            costs=np.concatenate([_change_costs(each) for each in periods], axis=1),
            of_tempo=tuple(
                slice(end - beside - len(each), end - beside)
                for end, each in zip(ends, periods, strict=True)
            ),
        )


def _change_costs(periods: np.ndarray) -> np.ndarray:
    """Return the columns of `_Columns.costs` for one tempo, ``[C, 2 + P + 2]``."""
    changes = np.arange(-_LARGEST_CHANGE, _LARGEST_CHANGE + 1)
    sources = np.arange(len(periods)) + changes[:, None]
    inside = (sources >= 0) & (sources < len(periods))
    drifts = np.log(periods[np.clip(sources, 0, len(periods) - 1)] / periods)
    costs = np.where(inside, 0.5 * (drifts / _DRIFT) ** 2, np.inf).astype(np.float32)
    return np.pad(costs, ((0, 0), (_LARGEST_CHANGE, _LARGEST_CHANGE)), constant_values=np.inf)


def _search(strength: np.ndarray, columns: _Columns) -> np.ndarray:
    """Run the dynamic program.

    All frames of a block as long as the shortest period are computed at once, because each depends
    on earlier blocks only.

    Returns:
        The total of the best sequence that ends in each frame with each period ``[L + T, W]``,
        after L rows of zeros, as many as the longest period: nothing comes before the recording.
    """
    block, longest = int(columns.periods.min()), int(columns.periods.max())
    width = len(columns.periods)
    size = block * width
    totals = np.zeros((longest + len(strength), width), np.float32)
    np.multiply(strength[:, None], columns.gains, out=totals[longest:])
    # The total to which a beat adds: the best in each frame, less the cost of changing the period.
    best = np.zeros_like(totals)
    # The places of the totals to which each period adds, in `best` from `longest` rows before the
    # block on.
    back = longest - columns.periods
    places = (np.arange(block)[:, None] + back) * width + np.arange(width)
    # Rows that begin one place later each: all totals from which a change leads to one period.
    changes = sliding_window_view(totals.reshape(-1), size)
    costs = np.tile(columns.costs, block)  # [C, b * W]
    scores = np.empty_like(costs)
    flat_best = best.reshape(-1)
    for begin in range(longest, len(totals), block):
        found = totals[begin : begin + block]
        found += flat_best[(begin - longest) * width :].take(places[: len(found)])
        if begin + block < len(totals):
            first = begin * width
            sources = slice(first - _LARGEST_CHANGE, first + _LARGEST_CHANGE + 1)
            np.subtract(changes[sources], costs, out=scores)
            np.maximum.reduce(scores, axis=0, out=flat_best[first : first + size])
    return totals


def _follow_back(totals: np.ndarray, columns: _Columns, tempo: slice) -> np.ndarray:
    """Return the frames of the best sequence of one tempo, from its last beat to its first."""
    lengths = columns.periods.tolist()
    before = max(lengths)  # rows before the first frame
    ends = totals[-lengths[tempo.stop - 1] :, tempo]
    row, column = np.unravel_index(int(ends.argmax()), ends.shape)
    frame = len(totals) - before - len(ends) + int(row)
    column = tempo.start + int(column)
    beats: list[int] = []
    while frame >= 0:
        beats.append(frame)
        frame -= lengths[column]
        first = column - _LARGEST_CHANGE
        sources = totals[before + frame, first : first + len(columns.costs)]
        column = first + int((sources - columns.costs[:, column]).argmax())
    return np.array(beats[::-1])
