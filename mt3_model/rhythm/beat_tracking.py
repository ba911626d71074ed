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
    longest = int(periods[-1])
    totals = _search(strength.astype(np.float32), periods, period, sources, costs)
    row, column = np.unravel_index(int(totals[-longest:].argmax()), (longest, len(periods)))
    frame = len(strength) - longest + int(row)
    beats: list[int] = []
    while frame >= 0:
        beats.append(frame)
        frame -= int(periods[column])
        before = sources[column]
        column = before[(totals[longest + frame, before] - costs[column]).argmax()]
    return np.array(beats[::-1])


def _search(
    strength: np.ndarray,
    periods: np.ndarray,
    period: float,
    sources: np.ndarray,
    costs: np.ndarray,
) -> np.ndarray:
    """Run the dynamic program.

    All frames of a block as long as the shortest period are computed at once, because each depends
    on earlier blocks only.

    Args:
        strength: the onset strength ``[T]``.
        periods: the periods in frames ``[P]``, increasing; the last is the longest, L.
        period: the period in frames in whose units gains are counted.
        sources: the columns of the periods that may precede each period, ``[P, C]``.
        costs: their costs ``[P, C]``.

    Returns:
        The total of the best sequence that ends in each frame with each period ``[L + T, P]``,
        after L rows of zeros: nothing comes before the recording.
    """
    frames, width = len(strength), len(periods)
    # Gain per time, not per beat: else faster sequences would gain by having more beats.
    gains = (periods / period).astype(np.float32)
    block, longest = int(periods[0]), int(periods[-1])
    rows = np.arange(block)
    # The places of the earlier totals in the `longest` rows before, the same in every block.
    places = (rows[:, None] + longest - periods) * width + sources.T[:, None]  # [C, b, P]
    totals = np.zeros((longest + frames, width), np.float32)
    flat = totals.reshape(-1)
    earned = strength[:, None] * gains
    for begin in range(0, frames, block):
        scores = flat[begin * width :].take(places) - costs.T[:, None]
        found = totals[longest + begin :][:block]
        scores[:, : len(found)].max(axis=0, out=found)
        found += earned[begin : begin + block]
    return totals
