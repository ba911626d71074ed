"""Notes in seconds -> notes in ticks of a score, on the subdivisions of `subdivision.py`.

Onsets of one part within 40 ms are one chord. Swung off-beats are written as eighths, as musicians
write them. Ends are rounded to the grid of the pulse that they lie in, but never finer than the
pulse's onsets need. Notes of one pitch that would start together are merged.
"""

import dataclasses
import math
from collections.abc import Sequence

import numpy as np

from mt3_model.notes.beat_positions import beats_at
from mt3_model.notes.musical_time import MusicalTime
from mt3_model.notes.note import Note
from mt3_model.score.meter import Meter
from mt3_model.score.subdivision import (
    ROUNDING,
    Grid,
    grids_of,
    has_first_third,
    is_swing,
    learn_subdivisions,
)

CHORD_SECONDS = 0.04
"""Onsets of one part this close are one chord: the spread of chords in piano performances.
Source: Goebl, Melody lead in piano performance, JASA 110 (2001), about 30 ms."""
_SECOND_THIRD = 16
"""The tick of a swung off-beat in a quarter note."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class QuantizedNote:
    """A note of a score."""

    pitch: int
    start: int
    """Ticks from the first beat."""
    end: int
    """Ticks; larger than ``start``."""
    velocity: int


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class QuantizedParts:
    """The notes of all parts on one grid."""

    parts: tuple[tuple[QuantizedNote, ...], ...]
    """Each part's notes by start and pitch; of one pitch no two overlap."""
    is_swing: bool


@dataclasses.dataclass(slots=True)
class _Pulse:
    """The onsets of one part in one pulse."""

    onsets: list[float]  # as a part of the pulse, 0 to 1
    members: list[list[int]]  # the notes of each onset


def quantize(
    parts: Sequence[Sequence[Note]], musical_time: MusicalTime, meter: Meter
) -> QuantizedParts:
    """Quantize the notes of all parts.

    Args:
        parts: The notes of each part.
        musical_time: The beats, by which seconds become ticks.
        meter: The meter built from ``musical_time``.
    """
    pulses = [_pulses(part, musical_time, meter) for part in parts]
    onsets = [{index: pulse.onsets for index, pulse in part.items()} for part in pulses]
    seconds = _pulse_seconds({index for part in pulses for index in part}, musical_time, meter)
    subdivisions = learn_subdivisions(onsets, seconds, grids_of(meter))
    swing = is_swing(onsets, subdivisions.ternary)
    quantized: list[tuple[QuantizedNote, ...]] = []
    for part, part_pulses in zip(parts, pulses, strict=True):
        chosen = {
            index: subdivisions.choose(pulse.onsets, index, seconds[index])
            for index, pulse in part_pulses.items()
        }
        swung = {
            index for index, grid in chosen.items()
            if swing and grid.is_ternary and not has_first_third(part_pulses[index].onsets)
        }  # fmt: skip
        starts = _starts(part_pulses, chosen, swung, meter, len(part))
        ends = _ends(
            _positions([note.end_time for note in part], musical_time, meter),
            starts, chosen, swung, meter,
        )  # fmt: skip
        quantized.append(_separate(part, starts, ends))
    return QuantizedParts(parts=tuple(quantized), is_swing=swing)


def _positions(times: Sequence[float], musical_time: MusicalTime, meter: Meter) -> np.ndarray:
    """Return times in seconds as positions in pulses ``[N]``, at least 0."""
    return np.maximum(beats_at(musical_time, np.asarray(times)) * meter.pulses_per_beat, 0.0)


def _pulses(part: Sequence[Note], musical_time: MusicalTime, meter: Meter) -> dict[int, _Pulse]:
    """Group a part's onsets into chords and those into pulses."""
    order = sorted(range(len(part)), key=lambda i: part[i].start_time)
    chords: list[list[int]] = []
    for index in order:
        start = part[index].start_time
        if chords and start - part[chords[-1][0]].start_time <= CHORD_SECONDS:
            chords[-1].append(index)
        else:
            chords.append([index])
    pulses: dict[int, _Pulse] = {}
    times = [sum(part[i].start_time for i in chord) / len(chord) for chord in chords]
    for position, chord in zip(_positions(times, musical_time, meter), chords, strict=True):
        index = math.floor(position + ROUNDING)
        pulse = pulses.setdefault(index, _Pulse([], []))
        pulse.onsets.append(max(float(position) - index, 0.0))
        pulse.members.append(chord)
    return pulses


def _pulse_seconds(indices: set[int], musical_time: MusicalTime, meter: Meter) -> dict[int, float]:
    """Return the length in seconds of each pulse."""
    lengths = np.diff(musical_time.beat_times) / meter.pulses_per_beat
    last = len(lengths) - 1
    return {
        index: float(lengths[min(index // meter.pulses_per_beat, last)])
        for index in sorted(indices)
    }


def _starts(
    pulses: dict[int, _Pulse],
    chosen: dict[int, Grid],
    swung: set[int],
    meter: Meter,
    count: int,
) -> list[int]:
    """Return the start of each note in ticks."""
    starts = [0] * count
    for index, pulse in pulses.items():
        for onset, members in zip(pulse.onsets, pulse.members, strict=True):
            tick = chosen[index].nearest(onset * meter.pulse)
            if index in swung:
                tick = _straighten(tick, meter)
            for member in members:
                starts[member] = index * meter.pulse + tick
    return starts


def _straighten(tick: int, meter: Meter) -> int:
    """Return a swung position as it is written: two thirds of the pulse as a half."""
    if tick <= _SECOND_THIRD:
        return round(tick * 3 / 4)
    return meter.pulse - round((meter.pulse - tick) * 3 / 2)


def _ends(
    positions: np.ndarray,
    starts: Sequence[int],
    chosen: dict[int, Grid],
    swung: set[int],
    meter: Meter,
) -> list[int]:
    """Return the end of each note in ticks, on the grid of the pulse that it ends in.

    Args:
        positions: The ends in pulses ``[N]``.
        starts: The quantized starts in ticks.
        chosen: The grid of each pulse in which a note starts.
        swung: The pulses that are written straight.
        meter: The meter.
    """
    plain = grids_of(meter)[1]
    fine = {
        index: grid if grid.is_ternary or len(grid.slots) > len(plain.slots) else plain
        for index, grid in chosen.items()
    }
    ends: list[int] = []
    for start, position in zip(starts, positions, strict=True):
        index = int(position)
        tick = fine.get(index, plain).nearest((position - index) * meter.pulse)
        end = index * meter.pulse + (_straighten(tick, meter) if index in swung else tick)
        first = start // meter.pulse
        own = plain if first in swung else fine.get(first, plain)
        ends.append(max(end, start + own.slots[1]))
    return ends


def _separate(
    part: Sequence[Note], starts: Sequence[int], ends: Sequence[int]
) -> tuple[QuantizedNote, ...]:
    """Merge notes of one pitch with one start, and end each before the next of its pitch."""
    merged: dict[tuple[int, int], QuantizedNote] = {}
    for note, start, end in zip(part, starts, ends, strict=True):
        earlier = merged.get((start, note.pitch))
        merged[start, note.pitch] = QuantizedNote(
            pitch=note.pitch,
            start=start,
            end=end if earlier is None else max(end, earlier.end),
            velocity=note.velocity if earlier is None else max(note.velocity, earlier.velocity),
        )
    ordered = [merged[key] for key in sorted(merged)]
    next_start: dict[int, int] = {}
    for index in range(len(ordered) - 1, -1, -1):
        note = ordered[index]
        limit = next_start.get(note.pitch)
        if limit is not None and note.end > limit:
            ordered[index] = dataclasses.replace(note, end=limit)
        next_start[note.pitch] = note.start
    return tuple(ordered)
