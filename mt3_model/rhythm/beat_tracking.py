"""Onset strength -> beats, by dynamic programming over time and beat period.

The idea is Ellis's (Source: D. P. W. Ellis, "Beat Tracking by Dynamic Programming", J. New Music
Research 36(1), 2007): the best sequence of beats that ends in a frame is the best one that ended a
beat period earlier, plus that frame's onset strength. Ellis has one period for the recording and a
penalty for intervals that differ from it. Here the period is part of the state and may drift by a
few percent per beat, so that a slow ritardando costs little and each beat follows the one before.
"""

import numpy as np

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
    columns = np.arange(len(periods))
    changes = np.arange(-_LARGEST_CHANGE, _LARGEST_CHANGE + 1)
    sources = columns[:, None] + changes  # [P, C]: the column of the period before
    inside = (sources >= 0) & (sources < len(periods))
    sources = np.clip(sources, 0, len(periods) - 1)
    drifts = np.log(periods[sources] / periods[:, None])
    costs = np.where(inside, 0.5 * (drifts / _DRIFT) ** 2, np.inf).astype(np.float32)
    taken, last = _search(strength.astype(np.float32), periods, period, sources, costs)
    frame, column = last
    beats: list[int] = []
    while frame >= 0:
        beats.append(frame)
        change = int(taken[frame, column])
        frame, column = frame - int(periods[column]), int(sources[column, change])
    return np.array(beats[::-1])


def _search(
    strength: np.ndarray,
    periods: np.ndarray,
    period: float,
    sources: np.ndarray,
    costs: np.ndarray,
) -> tuple[np.ndarray, tuple[int, int]]:
    """Run the dynamic program.

    All frames of a block as long as the shortest period are computed at once, because each depends
    on earlier blocks only.

    Args:
        strength: the onset strength ``[T]``.
        periods: the periods in frames ``[P]``, increasing.
        period: the period in frames in whose units gains are counted.
        sources: the columns of the periods that may precede each period, ``[P, C]``.
        costs: their costs ``[P, C]``.

    Returns:
        The best column of ``sources`` for each frame and period ``[T, P]``; the frame and the
        period of the last beat of the best sequence.
    """
    frames, width = len(strength), len(periods)
    # Gain per time, not per beat: else faster sequences would gain by having more beats.
    gains = (periods / period).astype(np.float32)
    block, longest = int(periods[0]), int(periods[-1])
    rows = np.arange(block)
    # The places of the earlier totals in the last `longest` rows, the same in every block.
    places = (rows[:, None, None] + longest - periods[:, None]) * width + sources  # [b, P, C]
    recent = np.zeros((longest, width), np.float32)
    taken = np.zeros((frames, width), np.int8)
    for begin in range(0, frames, block):
        count = min(block, frames - begin)
        scores = recent.ravel().take(places[:count]) - costs
        best = scores.argmax(axis=2)
        taken[begin : begin + count] = best
        totals = np.take_along_axis(scores, best[:, :, None], axis=2)[:, :, 0]
        totals += strength[begin : begin + count, None] * gains
        recent = np.concatenate((recent, totals))[-longest:]
    row, column = np.unravel_index(int(recent.argmax()), recent.shape)
    return taken, (frames - longest + int(row), int(column))
