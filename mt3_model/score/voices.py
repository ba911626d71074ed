"""The notes of one staff -> at most two voices of chords that do not overlap.

Notes that start together, and can be written with one end, form a chord. A second voice is opened
only where a single voice would cut short notes that are held against moving ones; a beam search
over the onsets compares the cost of the cuts with the cost of the second voice. Then the lengths
are made readable: small gaps before the next chord are closed, and notes that end within a pulse
are rounded, because performers rarely hold notes for their written length.
"""

import dataclasses
import itertools
from collections.abc import Sequence

from mt3_model.score.meter import TICKS_PER_QUARTER, Meter
from mt3_model.score.quantization import QuantizedNote

_BEAM = 5
_CUT_COST = 1.2
"""Cost of each note cut, per quarter note lost (two at most), times the share of its length
lost."""
_MAX_CUT_QUARTERS = 2.0
_CHORD_COST = 0.75
"""Cost of each chord of the second voice."""
_OPENING_COST = 0.8
"""Cost of a chord of the second voice that follows a rest of that voice."""
_CROSSING_COST = 2.0
_SILENT_FIRST_COST = 1.0
"""Cost of a chord in the second voice while the first has a rest."""
_SHORTEST_BINARY = 3
"""Ticks of a thirty-second note: ends that are not a multiple of it belong to triplets."""
_LEAP_COST = 0.03
"""Cost per semitone between a voice's chords."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Chord:
    """Notes of one voice that start and end together."""

    start: int
    end: int
    notes: tuple[QuantizedNote, ...]
    """By pitch."""


@dataclasses.dataclass(frozen=True, slots=True)
class _Choice:
    """A list of choices, shared between partial assignments."""

    count: int  # notes of the onset for the first voice
    before: "_Choice | None"


_Held = tuple[QuantizedNote, ...]


@dataclasses.dataclass(frozen=True, slots=True)
class _State:
    """A partial assignment: what each voice holds."""

    cost: float
    first: _Held
    second: _Held
    choices: _Choice | None


def assign_voices(notes: Sequence[QuantizedNote]) -> tuple[tuple[Chord, ...], ...]:
    """Divide the notes of one staff into one or two voices, the higher first, in linear time.

    Args:
        notes: The notes by start.
    """
    onsets = [
        tuple(sorted(group, key=lambda note: -note.pitch))
        for _, group in itertools.groupby(notes, key=lambda note: note.start)
    ]
    beam = [_State(0.0, (), (), None)]
    for group in onsets:
        beam = _advance(beam, group)
    counts: list[int] = []
    choice = beam[0].choices
    while choice is not None:
        counts.append(choice.count)
        choice = choice.before
    first: list[QuantizedNote] = []
    second: list[QuantizedNote] = []
    for group, count in zip(onsets, reversed(counts), strict=True):
        first += group[:count]
        second += group[count:]
    voices = (to_chords(first), to_chords(second))
    return tuple(voice for voice in voices if voice) if second else voices[:1]


def _advance(beam: list[_State], group: tuple[QuantizedNote, ...]) -> list[_State]:
    start = group[0].start
    is_held = any(_sounding(state.first, start) or _sounding(state.second, start) for state in beam)
    if not is_held and len({note.end for note in group}) == 1:
        # There is no choice: the cheapest assignment continues in one voice.
        best = beam[0]
        return [_State(best.cost, group, (), _Choice(len(group), best.choices))]
    grown = [_grow(state, group, count) for state in beam for count in range(len(group) + 1)]
    grown.sort(key=lambda state: state.cost)
    return grown[:_BEAM]


def _grow(state: _State, group: tuple[QuantizedNote, ...], count: int) -> _State:
    """Give the ``count`` highest notes to the first voice and the rest to the second."""
    start = group[0].start
    upper, lower = group[:count], group[count:]
    cost = state.cost
    first, second = _sounding(state.first, start), _sounding(state.second, start)
    if upper:
        cost += _cut(first, start) + _uneven(upper) + _leap(state.first, upper)
        first = upper
    if lower:
        cost += _CHORD_COST + _cut(second, start) + _uneven(lower) + _leap(state.second, lower)
        if not state.second or max(note.end for note in state.second) < start:
            cost += _OPENING_COST
        second = lower
        if not first:
            cost += _SILENT_FIRST_COST
    if first and second and first[-1].pitch < second[0].pitch:
        cost += _CROSSING_COST
    return _State(cost, first or state.first, second or state.second, _Choice(count, state.choices))


def _sounding(held: _Held, tick: int) -> _Held:
    return tuple(note for note in held if note.end > tick)


def _cut(held: _Held, tick: int) -> float:
    """Return the cost of ending what a voice holds."""
    return sum((_cut_cost(note.end - tick, note.end - note.start) for note in held), 0.0)


def _uneven(group: tuple[QuantizedNote, ...]) -> float:
    """Return the cost of writing notes of unequal length as one chord."""
    if len(group) == 1:
        return 0.0
    longest = max(note.end for note in group)
    cuts = (_cut_cost(longest - note.end, longest - note.start) for note in group)
    return sum(cuts, 0.0) / 2


def _cut_cost(lost: int, length: int) -> float:
    return _CUT_COST * min(lost / TICKS_PER_QUARTER, _MAX_CUT_QUARTERS) * lost / length


def _leap(before: _Held, after: tuple[QuantizedNote, ...]) -> float:
    return abs(before[0].pitch - after[0].pitch) * _LEAP_COST if before else 0.0


def to_chords(notes: Sequence[QuantizedNote]) -> tuple[Chord, ...]:
    """Make one voice of notes sorted by start.

    A chord ends with its longest note or at the next chord.
    """
    groups = [
        tuple(sorted(group, key=lambda note: note.pitch))
        for _, group in itertools.groupby(notes, key=lambda note: note.start)
    ]
    chords: list[Chord] = []
    for index, group in enumerate(groups):
        end = max(note.end for note in group)
        if index + 1 < len(groups):
            end = min(end, groups[index + 1][0].start)
        chords.append(Chord(start=group[0].start, end=end, notes=group))
    return tuple(chords)


def close_gaps(voice: Sequence[Chord], meter: Meter) -> tuple[Chord, ...]:
    """Lengthen chords to readable values.

    A chord lasts to the next chord if the gap is a sixteenth or less, or less than a pulse and no
    longer than the chord. Otherwise an end within a pulse moves to the pulse's end if that is
    near, or else to the half of it.
    """
    closed: list[Chord] = []
    for index, chord in enumerate(voice):
        limit = voice[index + 1].start if index + 1 < len(voice) else None
        closed.append(dataclasses.replace(chord, end=_readable_end(chord, limit, meter)))
    return tuple(closed)


def _readable_end(chord: Chord, limit: int | None, meter: Meter) -> int:
    length = chord.end - chord.start
    if limit is not None:
        gap = limit - chord.end
        if gap <= TICKS_PER_QUARTER // 4 or (gap < meter.pulse and gap <= length):
            return limit
    end = _round_up(chord.end, meter.pulse)
    is_triplet = chord.end % _SHORTEST_BINARY != 0
    if end - chord.end > min(meter.pulse // 2, length) and not is_triplet:
        eighth = TICKS_PER_QUARTER // 2
        end = _round_up(chord.end, min(eighth, meter.pulse))
    return end if limit is None else min(end, limit)


def fill_pulses(voice: Sequence[Chord], meter: Meter) -> tuple[Chord, ...]:
    """Extend each chord to the next one or to the end of its pulse, as drums are written."""
    closed: list[Chord] = []
    for index, chord in enumerate(voice):
        end = meter.pulse_start(chord.start) + meter.pulse
        if index + 1 < len(voice):
            end = min(end, voice[index + 1].start)
        closed.append(dataclasses.replace(chord, end=end))
    return tuple(closed)


def _round_up(tick: int, unit: int) -> int:
    return -(-tick // unit) * unit
