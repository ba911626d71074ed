"""The notes of a keyboard instrument -> two staves, one per hand.

Each chord is divided at one pitch: what is above it is the right hand's, the rest the left's. A
beam search over the chords finds the divisions that cost least: a hand spans about an octave, moves
little, and stays on its side of middle C where nothing else decides. This is the search of
Nakamura, Ono and Sagayama, Merged-output HMM for piano fingering of both hands (ISMIR 2014), with
costs in place of trained probabilities.
"""

import dataclasses
import itertools
from collections.abc import Sequence

from mt3_model.score.quantization import QuantizedNote

_BEAM = 6
_MIDDLE_C = 60
_SPAN = 12
"""Semitones that a hand reaches comfortably: an octave."""
_SPAN_COST, _MOVE_COST, _REGISTER_COST = 0.6, 0.12, 0.10
"""Per semitone: beyond the span, of movement, and across middle C."""
_FORGET_TICKS = 96
"""After a rest this long (four quarters) a hand's place costs nothing."""


@dataclasses.dataclass(slots=True)
class _Hands:
    """A partial division: where both hands are."""

    cost: float
    centers: tuple[float | None, float | None]  # of the right hand and the left
    last: tuple[int, int]  # tick of each hand's last chord
    splits: "_Split | None"


@dataclasses.dataclass(frozen=True, slots=True)
class _Split:
    """A list of choices, shared between partial divisions."""

    count: int  # notes of the chord for the right hand
    before: "_Split | None"


def split_hands(
    notes: Sequence[QuantizedNote],
) -> tuple[tuple[QuantizedNote, ...], tuple[QuantizedNote, ...]]:
    """Divide notes between the right hand and the left, in linear time.

    Args:
        notes: The notes by start.
    """
    chords = [
        sorted(group, key=lambda note: -note.pitch)
        for _, group in itertools.groupby(notes, key=lambda note: note.start)
    ]
    beam = [_Hands(0.0, (None, None), (0, 0), None)]
    for chord in chords:
        pitches = [note.pitch for note in chord]
        grown = [
            _grow(hands, pitches, count, chord[0].start)
            for hands in beam
            for count in range(len(pitches) + 1)
        ]
        grown.sort(key=lambda hands: hands.cost)
        beam = grown[:_BEAM]
    counts: list[int] = []
    split = beam[0].splits
    while split is not None:
        counts.append(split.count)
        split = split.before
    right: list[QuantizedNote] = []
    left: list[QuantizedNote] = []
    for chord, count in zip(chords, reversed(counts), strict=True):
        right += reversed(chord[:count])
        left += reversed(chord[count:])
    return tuple(right), tuple(left)


def _grow(hands: _Hands, pitches: list[int], count: int, tick: int) -> _Hands:
    """Give the ``count`` highest pitches of a chord to the right hand and the rest to the left."""
    cost = hands.cost
    centers, last = list(hands.centers), list(hands.last)
    for side, own in enumerate((pitches[:count], pitches[count:])):
        if not own:
            continue
        center = (own[0] + own[-1]) / 2
        cost += max(own[0] - own[-1] - _SPAN, 0) * _SPAN_COST
        before = centers[side]
        if before is not None and tick - last[side] < _FORGET_TICKS:
            cost += abs(center - before) * _MOVE_COST
        over = _MIDDLE_C - center if side == 0 else center - _MIDDLE_C
        cost += max(over, 0.0) * _REGISTER_COST * len(own)
        centers[side], last[side] = center, tick
    right, left = centers
    if right is not None and left is not None and right < left:
        cost += (left - right) * _REGISTER_COST
    return _Hands(cost, (centers[0], centers[1]), (last[0], last[1]), _Split(count, hands.splits))
