"""The passages of a staff that are written an octave lower or higher, under an 8va or 8vb line.

Viterbi's algorithm over the chords of a staff: ledger lines beyond three cost, and so does each
line, so one or two high notes keep their ledger lines. Only bars of one voice get a line: programs
that read MusicXML disagree on whether a line of one voice holds for the other.
"""

import dataclasses
from collections.abc import Sequence

from mt3_model.score.clefs import ledger_lines
from mt3_model.score.instruments import Clef
from mt3_model.score.meter import Meter
from mt3_model.score.voices import Chord

_READABLE_LINES = 3
"""Ledger lines that pianists and guitarists read at sight."""
_LINE_COST = 5.0
"""Ledger lines beyond these that justify a line."""
_NEEDLESS_COST = 0.7
"""Cost of a chord under a line that is as readable without it."""
_OCTAVE = 12
_SHIFTS = (0, 1, -1)
"""Octaves by which a chord sounds higher than written: none, 8va, 8vb."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class OctaveLine:
    """An 8va or 8vb line, from the start of a chord to the end of another, in ticks."""

    start: int
    end: int
    is_up: bool
    """Whether the notes sound an octave higher than written."""


def choose_octave_lines(
    voices: Sequence[Sequence[Chord]],
    clefs: Sequence[Clef],
    usable: Sequence[Clef],
    meter: Meter,
    transposition: int,
) -> tuple[OctaveLine, ...]:
    """Choose the octave lines of one staff.

    Args:
        voices: One or two voices of chords.
        clefs: The clef of each bar.
        usable: The clefs that the staff may have.
        meter: The meter.
        transposition: Semitones from the written to the sounding pitch.
    """
    shared = {bar for voice in voices[1:] for chord in voice for bar in _bars_of(chord, meter)}
    chords = voices[0] if voices else ()
    costs: list[tuple[float, ...]] = []
    for chord in chords:
        clef = clefs[meter.bar_index(chord.start)]
        is_shared = not shared.isdisjoint(_bars_of(chord, meter))
        allowed = {
            1: not is_shared and (clef is Clef.TREBLE or Clef.TREBLE not in usable),
            -1: not is_shared and clef is Clef.BASS,
        }
        costs.append(_costs(chord, clef, allowed, transposition))
    return _to_lines(chords, _best_shifts(chords, costs, meter), meter)


def clip_lines(lines: Sequence[OctaveLine], start: int, end: int) -> tuple[OctaveLine, ...]:
    """Return the lines between two bar lines; those that cross one end or begin there."""
    return tuple(
        dataclasses.replace(line, start=max(line.start, start), end=min(line.end, end))
        for line in lines
        if line.start < end and line.end > start
    )


def _bars_of(chord: Chord, meter: Meter) -> range:
    return range(meter.bar_index(chord.start), meter.bar_index(chord.end - 1) + 1)


def _costs(
    chord: Chord, clef: Clef, allowed: dict[int, bool], transposition: int
) -> tuple[float, ...]:
    """Return the cost of writing a chord at its pitch, an octave lower and an octave higher."""
    low, high = (note.pitch - transposition for note in (chord.notes[0], chord.notes[-1]))
    plain = _excess(low, clef) + _excess(high, clef)
    shifted = [
        _NEEDLESS_COST * (plain == 0)
        + _excess(low - shift * _OCTAVE, clef)
        + _excess(high - shift * _OCTAVE, clef)
        if allowed[shift]
        else float("inf")
        for shift in _SHIFTS[1:]
    ]
    return plain, *shifted


def _excess(pitch: int, clef: Clef) -> float:
    return max(ledger_lines(pitch, clef) - _READABLE_LINES, 0.0)


def _best_shifts(
    chords: Sequence[Chord], costs: Sequence[tuple[float, ...]], meter: Meter
) -> list[int]:
    """Return the shift of each chord that makes the sum of costs smallest."""
    states = range(len(_SHIFTS))
    totals = [0.0, *(float("inf") for _ in _SHIFTS[1:])]
    steps: list[list[int]] = []
    for index, own in enumerate(costs):
        continues = index > 0 and _is_near(chords[index - 1], chords[index], meter)
        reached = [
            [
                totals[before] + _LINE_COST * (state > 0 and not (continues and before == state))
                for before in states
            ]
            for state in states
        ]
        steps.append([min(states, key=costs_of_state.__getitem__) for costs_of_state in reached])
        totals = [min(reached[state]) + own[state] for state in states]
    state = min(states, key=totals.__getitem__)
    shifts: list[int] = []
    for before in reversed(steps):
        shifts.append(_SHIFTS[state])
        state = before[state]
    return shifts[::-1]


def _is_near(before: Chord, after: Chord, meter: Meter) -> bool:
    """Return whether a line may continue between two chords: over rests of less than a bar."""
    return after.start - before.end < meter.bar


def _to_lines(
    chords: Sequence[Chord], shifts: Sequence[int], meter: Meter
) -> tuple[OctaveLine, ...]:
    """Join neighboring chords of one shift."""
    lines: list[OctaveLine] = []
    for index, (chord, shift) in enumerate(zip(chords, shifts, strict=True)):
        if not shift:
            continue
        continues = index > 0 and shifts[index - 1] == shift
        if continues and _is_near(chords[index - 1], chord, meter):
            lines[-1] = dataclasses.replace(lines[-1], end=chord.end)
        else:
            lines.append(OctaveLine(start=chord.start, end=chord.end, is_up=shift > 0))
    return tuple(lines)
