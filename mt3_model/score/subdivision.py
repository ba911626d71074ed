"""The subdivision of each pulse: two, three, four ... slots, chosen by the onsets in it.

The subdivision with the lowest cost is the most probable explanation of a pulse's onsets. The cost
grows with each onset's distance to its slot, in standard deviations, and with how unusual the slot
and the subdivision are. The model is a prior over metrical positions times a Gaussian of the
deviation, after Temperley, Music and Probability (MIT Press, 2007), chapter 3; the costs are ours,
in nats.

1. Whether a pulse divides by two or by three is decided for all parts together, because musicians
   who play together divide the beat together. How finely it divides is decided for each part alone.
2. The share of pulses that divide by three is learned from the recording in a few rounds of
   expectation-maximization: triplets are unlikely in a march and likely in a blues.
3. In swing most pulses with an off-beat have it at two thirds, and triplets are rare.
"""

import dataclasses
import math
from collections.abc import Sequence

from mt3_model.score.meter import TICKS_PER_QUARTER, Meter

ROUNDING = 1 / 16
"""An onset that is early by less than this fraction of a pulse belongs to the next pulse."""
_DEVIATION_SECONDS = 0.03
"""The standard deviation of onsets, combining the performers', the model's and the beats'
errors."""
_COLLISION = 2.5
"""Cost of two chords in one slot."""
_ROUNDS = 4
_FIRST_TERNARY_SHARE = 0.12
_TERNARY_SHARE_LIMITS = (0.002, 0.9)
_SWING_SHARE = 0.5
_SWING_TRIPLET_SHARE = 0.25
_MIN_SWING_PULSES = 8


@dataclasses.dataclass(frozen=True, slots=True)
class Grid:
    """A subdivision of the pulse into even slots."""

    slots: tuple[int, ...]
    """Ticks from the start of the pulse; the last is the next pulse's start."""
    costs: tuple[float, ...]
    """The cost of an onset in each slot."""
    cost: float
    is_ternary: bool = False

    def nearest(self, tick: float) -> int:
        """Return the slot nearest to a tick."""
        return self.slots[self._index(tick)]

    def explain(self, onsets: Sequence[float], deviations: float) -> float:
        """Return the cost of explaining the onsets of a pulse.

        Args:
            onsets: The onsets as parts of the pulse, ascending.
            deviations: The length of the pulse in standard deviations of onsets.
        """
        total = self.cost
        length = self.slots[-1]
        last = -1
        for onset in onsets:
            slot = self._index(onset * length)
            deviation = (onset - self.slots[slot] / length) * deviations
            total += deviation * deviation / 2 + self.costs[slot]
            if slot == last:
                total += _COLLISION
            last = slot
        return total

    def _index(self, tick: float) -> int:
        return min(max(round(tick / self.slots[1]), 0), len(self.slots) - 1)


_QUARTER_GRIDS = (
    Grid((0, 24), (0.0, 0.0), 0.0),
    Grid((0, 12, 24), (0.0, 0.2, 0.0), 0.2),
    Grid((0, 6, 12, 18, 24), (0.0, 0.7, 0.3, 0.6, 0.0), 0.6),
    Grid((0, 3, 6, 9, 12, 15, 18, 21, 24), (0.0, 1.8, 0.9, 1.8, 0.4, 1.8, 0.8, 1.8, 0.0), 2.5),
    Grid((0, 8, 16, 24), (0.0, 0.5, 0.4, 0.0), 0.1, is_ternary=True),
    Grid((0, 4, 8, 12, 16, 20, 24), (0.0, 1.6, 0.7, 1.2, 0.7, 1.6, 0.0), 2.5, is_ternary=True),
)
_DOTTED_GRIDS = (
    Grid((0, 36), (0.0, 0.0), 0.0),
    Grid((0, 12, 24, 36), (0.0, 0.3, 0.2, 0.0), 0.2),
    Grid((0, 6, 12, 18, 24, 30, 36), (0.0, 0.8, 0.4, 0.8, 0.3, 0.7, 0.0), 0.6),
    Grid(tuple(range(0, 37, 3)), (0.0, *(2.0, 1.0, 2.0, 0.6) * 2, 2.0, 1.0, 2.0, 0.0), 2.5),
)
_EIGHTH_GRIDS = (
    Grid((0, 12), (0.0, 0.0), 0.0),
    Grid((0, 6, 12), (0.0, 0.4, 0.0), 0.3),
    Grid((0, 3, 6, 9, 12), (0.0, 1.2, 0.6, 1.0, 0.0), 1.2),
)


@dataclasses.dataclass(frozen=True, slots=True)
class Subdivisions:
    """Data shared by all parts of a recording."""

    grids: tuple[Grid, ...]
    ternary: frozenset[int]
    """The pulses that divide by three."""

    def choose(self, onsets: Sequence[float], index: int, seconds: float) -> Grid:
        """Return the grid of one pulse of one part.

        Args:
            onsets: The part's onsets in the pulse, as parts of the pulse.
            index: The index of the pulse.
            seconds: The length of the pulse.
        """
        is_ternary = index in self.ternary
        return min(
            # The undivided pulse is in both families.
            (g for g in self.grids if g.is_ternary == is_ternary or g is self.grids[0]),
            key=lambda grid: grid.explain(onsets, seconds / _DEVIATION_SECONDS),
        )


def grids_of(meter: Meter) -> tuple[Grid, ...]:
    """Return the subdivisions of a meter's pulse, the coarsest first."""
    if meter.pulse == TICKS_PER_QUARTER:
        return _QUARTER_GRIDS
    return _DOTTED_GRIDS if meter.pulse > TICKS_PER_QUARTER else _EIGHTH_GRIDS


def learn_subdivisions(
    parts: Sequence[dict[int, list[float]]], seconds: dict[int, float], grids: tuple[Grid, ...]
) -> Subdivisions:
    """Decide which pulses divide by three, and learn how frequent they are.

    Args:
        parts: The onsets of each part by pulse, as parts of the pulse.
        seconds: The length of each pulse that has onsets.
        grids: The subdivisions to choose from.
    """
    costs = {
        index: _family_costs(
            [part[index] for part in parts if index in part], grids, length / _DEVIATION_SECONDS
        )
        for index, length in seconds.items()
    }
    telling = {i: c for i, c in costs.items() if c[0] != c[1] and math.isfinite(c[1])}
    share = _FIRST_TERNARY_SHARE
    ternary: frozenset[int] = frozenset()
    for _ in range(_ROUNDS):
        odds = math.log(share / (1 - share))
        ternary = frozenset(i for i, (two, three) in telling.items() if three - odds < two)
        if telling:
            beliefs = [1 / (1 + math.exp(min(c[1] - c[0] - odds, 50))) for c in telling.values()]
            low, high = _TERNARY_SHARE_LIMITS
            share = min(max(sum(beliefs) / len(beliefs), low), high)
    return Subdivisions(grids=grids, ternary=ternary)


def _family_costs(
    pulses: Sequence[Sequence[float]], grids: Sequence[Grid], deviations: float
) -> tuple[float, float]:
    """Return the cost of the best binary and the best ternary grids of one pulse in all parts."""
    binary = ternary = 0.0
    for onsets in pulses:
        costs = [(grid.explain(onsets, deviations), grid.is_ternary) for grid in grids]
        best = min(cost for cost, is_ternary in costs if not is_ternary)
        binary += best
        if len(onsets) == 1 and onsets[0] < ROUNDING:
            ternary += best  # An onset on the beat alone says nothing about the subdivision.
        else:
            ternary += min((cost for cost, is_ternary in costs if is_ternary), default=math.inf)
    return binary, ternary


def has_first_third(onsets: Sequence[float]) -> bool:
    """Return whether an onset is at about a third of the pulse, where swung eighths never are."""
    return any(round(onset * 6) in (1, 2) for onset in onsets)


def is_swing(parts: Sequence[dict[int, list[float]]], ternary: frozenset[int]) -> bool:
    """Return whether off-beats lie at two thirds of the pulse throughout the recording."""
    divided: set[int] = set()
    triplets: set[int] = set()
    for part in parts:
        for index, onsets in part.items():
            if any(ROUNDING < onset < 1 - ROUNDING for onset in onsets):
                divided.add(index)
            if index in ternary and has_first_third(onsets):
                triplets.add(index)
    swung = len(ternary & divided)
    return (
        swung >= _MIN_SWING_PULSES
        and swung >= _SWING_SHARE * len(divided)
        and len(triplets) <= _SWING_TRIPLET_SHARE * swung
    )
