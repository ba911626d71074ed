"""The notes of a keyboard instrument -> two staves, one per hand.

Each chord is divided at one pitch: the notes above it belong to the right hand, the rest to the
left. A beam search over the chords finds the divisions that cost least: a hand spans about an
octave (counting the keys that it still holds), moves little, and stays on its side of middle C
if nothing else decides. This is the search of Nakamura, Ono and Sagayama, Merged-output HMM for
piano fingering of both hands (ISMIR 2014), with costs in place of trained probabilities.
"""

import dataclasses
import itertools
from collections.abc import Sequence

from mt3_model.score.quantization import QuantizedNote

_BEAM = 6
_MIDDLE_C = 60
_SPAN = 12
"""Semitones that a hand reaches comfortably: an octave."""
_SPAN_COST, _MOVE_COST, _REGISTER_COST = 0.6, 0.12, 0.07
"""Per semitone: beyond the span, of movement, and across middle C."""
_FAR_COST = 0.4
"""Per semitone beyond an octave across middle C: three ledger lines."""
_HELD_COST, _LONGEST_REACH = 0.4, 8
"""Per semitone that held keys add beyond the span, and the most semitones that count, because notes
that the pedal holds look like held keys. On 12 piano scores of the music21 corpus (500 notes of
each) .916 of the notes are on the right staff, .914 if a pedal holds them for half a bar; without
this cost .902."""
_FORGET_TICKS = 96
"""After a rest this long (four quarters) a hand's position costs nothing."""


@dataclasses.dataclass(frozen=True, slots=True)
class _HandPosition:
    """The position of a hand."""

    center: float
    """The middle of its last chord."""
    start: int
    held: tuple[QuantizedNote, ...]
    """The notes that sounded when it played the last chord, and those of the chord."""


@dataclasses.dataclass(slots=True)
class _Hands:
    """A partial division: where both hands are."""

    cost: float
    positions: tuple["_HandPosition | None", "_HandPosition | None"]
    """The right hand's and the left's."""
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
    beam = [_Hands(0.0, (None, None), None)]
    for chord in chords:
        grown = [_grow(hands, chord, count) for hands in beam for count in range(len(chord) + 1)]
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


def _grow(hands: _Hands, chord: Sequence[QuantizedNote], count: int) -> _Hands:
    """Give the ``count`` highest notes of a chord to the right hand and the rest to the left."""
    cost = hands.cost
    right, left = hands.positions
    if count:
        right, added = _play(right, chord[:count])
        cost += added + _register_cost(_MIDDLE_C - right.center) * count
    if count < len(chord):
        left, added = _play(left, chord[count:])
        cost += added + _register_cost(left.center - _MIDDLE_C) * (len(chord) - count)
    if right is not None and left is not None and right.center < left.center:
        cost += (left.center - right.center) * _REGISTER_COST
    return _Hands(cost, (right, left), _Split(count, hands.splits))


def _register_cost(over: float) -> float:
    """Return the cost of a note that is some semitones on the other side of middle C."""
    return max(over, 0.0) * _REGISTER_COST + max(over - _SPAN, 0.0) * _FAR_COST


def _play(
    before: _HandPosition | None, chord: Sequence[QuantizedNote]
) -> tuple[_HandPosition, float]:
    """Return where a hand is after a chord, highest note first, and the cost of playing it."""
    high, low, start = chord[0].pitch, chord[-1].pitch, chord[0].start
    position = _HandPosition((high + low) / 2, start, tuple(chord))
    cost = max(high - low - _SPAN, 0) * _SPAN_COST
    if before is None:
        return position, cost
    if start - before.start < _FORGET_TICKS:
        cost += abs(position.center - before.center) * _MOVE_COST
    held = tuple(note for note in before.held if note.end > start)
    if held:
        top = max(high, *(note.pitch for note in held))
        bottom = min(low, *(note.pitch for note in held))
        reach = top - bottom - max(high - low, _SPAN)
        cost += min(max(reach, 0), _LONGEST_REACH) * _HELD_COST
    return dataclasses.replace(position, held=held + position.held), cost
