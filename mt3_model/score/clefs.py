"""The clef of every bar of a staff: the fewest ledger lines with the fewest changes.

Viterbi's algorithm over the bars: a bar's cost in a clef is the ledger lines of its notes, and each
change has a cost, so a clef changes only where the music stays high or low.
"""

from collections.abc import Sequence

from mt3_model.score.instruments import Clef

_CHANGE_COST = 12.0
"""Ledger lines that justify a change of clef."""
_UNUSUAL_COST = 0.6
"""Cost per bar of a clef that is not the instrument's usual one."""
_STEPS_PER_SEMITONE = 7 / 12
_OUTER_LINE = 4
"""Steps from the middle line to the lowest or highest."""


def choose_clefs(bars: Sequence[Sequence[int]], clefs: Sequence[Clef]) -> list[Clef]:
    """Return the clef of each bar.

    Args:
        bars: The written MIDI pitches of each bar.
        clefs: The clefs that may be used, the usual first.
    """
    totals = [0.0 if index == 0 else _UNUSUAL_COST for index in range(len(clefs))]
    steps: list[list[int]] = []
    for pitches in bars:
        cheapest = min(range(len(clefs)), key=totals.__getitem__)
        before: list[int] = []
        grown: list[float] = []
        for index, clef in enumerate(clefs):
            change = totals[cheapest] + _CHANGE_COST
            before.append(index if totals[index] <= change else cheapest)
            cost = sum((ledger_lines(pitch, clef) for pitch in pitches), 0.0)
            unusual = _UNUSUAL_COST if index and pitches else 0.0
            grown.append(min(totals[index], change) + cost + unusual)
        steps.append(before)
        totals = grown
    index = min(range(len(clefs)), key=totals.__getitem__)
    chosen: list[Clef] = []
    for before in reversed(steps):
        chosen.append(clefs[index])
        index = before[index]
    return chosen[::-1]


def ledger_lines(pitch: int, clef: Clef) -> float:
    """Return the approximate number of ledger lines of a written pitch, whose name is not known."""
    steps = abs(pitch - clef.middle) * _STEPS_PER_SEMITONE
    return max((steps - _OUTER_LINE) // 2, 0.0)
