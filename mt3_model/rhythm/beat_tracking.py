"""Onset strength -> beats, by dynamic programming over time and beat period.

The idea is Ellis's (Source: D. P. W. Ellis, "Beat Tracking by Dynamic Programming", J. New Music
Research 36(1), 2007): the best sequence of beats that ends in a frame is the best one that ended a
beat period earlier, plus that frame's onset strength. Ellis has one period for the recording and a
penalty for intervals that differ from it. Here the period is part of the state and may drift by a
few percent per beat, so that a slow ritardando costs little and each beat follows the one before.
"""

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


def track_beats(strength: np.ndarray, period: float, *, steps: int = _STEPS_EACH_WAY) -> np.ndarray:
    """Return the frames ``[B]`` of the best sequence of beats near one tempo.

    Args:
        strength: the onset strength ``[T]``.
        period: the candidate's beat period in frames, at least 10.
        steps: steps of 2.5 % by which the period may leave the candidate.
    """
    ratios = (1 + _PERIOD_STEP) ** np.arange(-steps, steps + 1)
    periods = np.unique(np.round(period * ratios).astype(int))
    costs = _change_costs(periods)
    totals = _search(strength.astype(np.float32), periods, period, costs)
    longest = int(periods[-1])
    ends = totals[-longest:, _LARGEST_CHANGE:-_LARGEST_CHANGE]
    row, column = np.unravel_index(int(ends.argmax()), ends.shape)
    frame, column = len(strength) - longest + int(row), int(column)
    lengths = periods.tolist()
    beats: list[int] = []
    while frame >= 0:
        beats.append(frame)
        frame -= lengths[column]
        before = totals[longest + frame, column : column + len(costs)]
        column += int((before - costs[:, column]).argmax()) - _LARGEST_CHANGE
    return np.array(beats[::-1])


def _change_costs(periods: np.ndarray) -> np.ndarray:
    """Return the cost of each change of the period between two beats ``[C, P]``.

    The period before is the one in column ``p + c - 2``; where there is none the cost is infinite.
    """
    columns = np.arange(len(periods))
    sources = columns + np.arange(-_LARGEST_CHANGE, _LARGEST_CHANGE + 1)[:, None]
    inside = (sources >= 0) & (sources < len(periods))
    drifts = np.log(periods[np.clip(sources, 0, len(periods) - 1)] / periods)
    return np.where(inside, 0.5 * (drifts / _DRIFT) ** 2, np.inf).astype(np.float32)


def _search(
    strength: np.ndarray, periods: np.ndarray, period: float, costs: np.ndarray
) -> np.ndarray:
    """Run the dynamic program.

    All frames of a block as long as the shortest period are computed at once, because each depends
    on earlier blocks only.

    Args:
        strength: the onset strength ``[T]``.
        periods: the periods in frames ``[P]``, increasing; the last is the longest, L.
        period: the period in frames in whose units gains are counted.
        costs: the costs of changes of the period ``[C, P]``.

    Returns:
        The total of the best sequence that ends in each frame with each period ``[L + T, 2 + P +
        2]``, after L rows of zeros: nothing comes before the recording. Two columns at each side
        are of no period.
    """
    frames, block, longest = len(strength), int(periods[0]), int(periods[-1])
    beside = _LARGEST_CHANGE
    # Gain per time, not per beat: else faster sequences would gain by having more beats.
    gains = np.pad((periods / period).astype(np.float32), beside)
    width = len(gains)
    penalties = np.pad(costs, ((0, 0), (beside, beside)), constant_values=np.inf)
    penalties = np.tile(penalties, block)  # [C, b * W]
    scores = np.empty_like(penalties)
    totals = np.zeros((longest + frames, width), np.float32)
    np.multiply(strength[:, None], gains, out=totals[longest:])
    # What a beat adds to: the best total in each frame, less the cost of changing the period.
    best = np.zeros_like(totals)
    # The places of what each period adds to, in `best` from `longest` rows before the block on.
    back = longest - np.pad(periods, beside, mode="edge")
    places = (np.arange(block)[:, None] + back) * width + np.arange(width)
    size = block * width
    # Rows that begin one place later each: all totals from which a change leads to one period.
    changes = sliding_window_view(totals.reshape(-1), size)
    flat_best = best.reshape(-1)
    for begin in range(longest, longest + frames, block):
        found = totals[begin : begin + block]
        found += flat_best[(begin - longest) * width :].take(places[: len(found)])
        if begin + block < len(totals):
            first = begin * width
            np.subtract(changes[first - beside : first + beside + 1], penalties, out=scores)
            np.maximum.reduce(scores, axis=0, out=flat_best[first : first + size])
    return totals
