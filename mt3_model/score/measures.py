"""Voices of chords -> bars of written notes: ties, rests, dots and tuplets.

A chord is split at bar lines and wherever its value would hide the beat, by the rules of Gould,
Behind Bars (Faber, 2011), pages 166 to 176: a value may start on a strong position and run over
weaker ones, or be a syncopation centered on the next stronger position, as in eighth, quarter,
eighth. Rests never run over a position stronger than or as strong as their start, except in
compound pulses. All parts of a split chord are tied.

The lengths of every bar of a voice add up to the length of the bar.
"""

import dataclasses
from collections.abc import Iterator, Sequence

from mt3_model.score.meter import HALF_BAR_LEVEL, PULSE_LEVEL, TICKS_PER_QUARTER, Bar, Meter
from mt3_model.score.quantization import QuantizedNote
from mt3_model.score.voices import Chord

_BASE_VALUES = (
    ("breve", 192), ("whole", 96), ("half", 48), ("quarter", 24), ("eighth", 12), ("16th", 6),
    ("32nd", 3),
)  # fmt: skip
_SHORTEST_BINARY = 3


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Tuplet:
    """A bracket over one pulse: ``actual`` notes in the time of ``normal``."""

    actual: int
    normal: int
    is_first: bool
    is_last: bool


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Symbol:
    """One written chord or rest."""

    start: int
    duration: int
    """Ticks."""
    value: str
    """The name of the value in MusicXML: ``quarter``."""
    dots: int
    notes: tuple[QuantizedNote, ...]
    """Empty for a rest."""
    is_tied_from: bool = False
    """Whether it continues the symbol before."""
    is_tied_to: bool = False
    """Whether the next symbol continues it."""
    tuplet: Tuplet | None = None
    is_bar_rest: bool = False

    @property
    def end(self) -> int:
        """The tick after the symbol."""
        return self.start + self.duration


def _value_table() -> dict[int, tuple[str, int]]:
    """Return the written value and dots of each length in ticks that has one."""
    table = {ticks: (name, 0) for name, ticks in _BASE_VALUES}
    table |= {ticks * 3 // 2: (name, 1) for name, ticks in _BASE_VALUES if ticks > _SHORTEST_BINARY}
    return table


_VALUES = _value_table()
_LENGTHS = sorted(_VALUES, reverse=True)


def write_bars(
    voice: Sequence[Chord], bars: Sequence[Bar], meter: Meter
) -> list[tuple[Symbol, ...]]:
    """Write one voice as bars, each a tuple of symbols that fills it without a gap.

    Args:
        voice: Chords in order that do not overlap, all within the bars.
        bars: The bars of the score.
        meter: The meter of the bars.
    """
    contents: list[list[Chord]] = [[] for _ in bars]
    for chord in voice:
        for index in range(meter.bar_index(chord.start), meter.bar_index(chord.end - 1) + 1):
            contents[index].append(chord)
    return [tuple(_write_bar(own, bar, meter)) for own, bar in zip(contents, bars, strict=True)]


def _write_bar(chords: Sequence[Chord], bar: Bar, meter: Meter) -> list[Symbol]:
    if not chords:
        duration = bar.end - bar.start
        return [
            Symbol(
                start=bar.start, duration=duration, value="whole", dots=0, notes=(),
                is_bar_rest=True,
            )
        ]  # fmt: skip
    ternary = _ternary_pulses(chords, bar, meter)
    symbols: list[Symbol] = []
    now = bar.start
    for chord in chords:
        start, end = max(chord.start, bar.start), min(chord.end, bar.end)
        symbols += _write_span(now, start, (), ternary, meter)
        written = _write_span(start, end, chord.notes, ternary, meter)
        last = len(written) - 1
        symbols += (
            dataclasses.replace(
                symbol,
                is_tied_from=index > 0 or chord.start < bar.start,
                is_tied_to=index < last or chord.end > bar.end,
            )
            for index, symbol in enumerate(written)
        )
        now = end
    symbols += _write_span(now, bar.end, (), ternary, meter)
    return _bracket(symbols, ternary, meter)


def _ternary_pulses(chords: Sequence[Chord], bar: Bar, meter: Meter) -> frozenset[int]:
    """Return the starts of the pulses that some boundary divides by three."""
    boundaries = {tick for chord in chords for tick in (chord.start, chord.end)}
    return frozenset(
        meter.pulse_start(tick)
        for tick in boundaries
        if bar.start < tick < bar.end and tick % _SHORTEST_BINARY
    )


def _write_span(
    start: int, end: int, notes: tuple[QuantizedNote, ...], ternary: frozenset[int], meter: Meter
) -> list[Symbol]:
    """Write the span of one chord or rest within a bar."""
    symbols: list[Symbol] = []
    for low, high in _at_ternary_pulses(start, end, ternary, meter):
        scale = 3 if meter.pulse_start(low) in ternary else 2
        symbols += (
            Symbol(
                start=first,
                duration=ticks,
                value=_VALUES[ticks * scale // 2][0],
                dots=_VALUES[ticks * scale // 2][1],
                notes=notes,
            )
            for first, ticks in (
                _ternary_values(low, high)
                if scale == 3  # noqa: PLR2004 (three in the time of two)
                else _binary_values(low, high, meter, is_rest=not notes)
            )
        )
    return symbols


def _at_ternary_pulses(
    start: int, end: int, ternary: frozenset[int], meter: Meter
) -> Iterator[tuple[int, int]]:
    """Cut a span at both ends of every ternary pulse in it."""
    cuts = {edge for pulse in ternary for edge in (pulse, pulse + meter.pulse)}
    inside = sorted(cut for cut in cuts if start < cut < end)
    yield from (
        (low, high)
        for low, high in zip([start, *inside], [*inside, end], strict=True)
        if low < high
    )


def _ternary_values(start: int, end: int) -> Iterator[tuple[int, int]]:
    """Yield start and length of the values in a pulse of three, the longest first."""
    while start < end:
        length = next(n for n in _LENGTHS if n * 2 % 3 == 0 and n * 2 // 3 <= end - start)
        yield start, length * 2 // 3
        start += length * 2 // 3


def _binary_values(
    start: int, end: int, meter: Meter, *, is_rest: bool
) -> Iterator[tuple[int, int]]:
    """Yield start and length of each value of a span, the longest that does not hide the beat."""
    fits = _rest_fits if is_rest else _note_fits
    while start < end:
        left = end - start
        length = next(n for n in _LENGTHS if n <= left and fits(start, n, left, meter))
        yield start, length
        start += length


def _strongest_inside(start: int, length: int, meter: Meter) -> tuple[int, int]:
    """Return the level and tick of the strongest position inside a span; level -1 for none."""
    unit = _SHORTEST_BINARY if start % 6 or length % 6 else 6
    inside = range(start + unit, start + length, unit)
    return max(((meter.level(tick), -tick) for tick in inside), default=(-1, 0))


def _note_fits(start: int, length: int, left: int, meter: Meter) -> bool:
    """Return whether a note may be written as one value; ``left`` is the length of its span."""
    if length == _SHORTEST_BINARY:
        return True
    own = meter.level(start)
    strongest, negative_tick = _strongest_inside(start, length, meter)
    if meter.pulse > TICKS_PER_QUARTER and strongest >= PULSE_LEVEL:
        # Across the beats of a compound meter: whole beats only.
        return length % meter.pulse == 0 and strongest <= own
    if strongest <= own:
        return True
    is_centered = -negative_tick * 2 == start * 2 + length
    return length == left and is_centered and strongest == own + 1 and strongest <= HALF_BAR_LEVEL


def _rest_fits(start: int, length: int, left: int, meter: Meter) -> bool:  # noqa: ARG001
    if length == _SHORTEST_BINARY:
        return True
    is_dotted = _VALUES[length][1] > 0
    if is_dotted and (meter.pulse <= TICKS_PER_QUARTER or length % meter.pulse != 0):
        return False
    own = meter.level(start)
    strongest, _ = _strongest_inside(start, length, meter)
    if strongest >= PULSE_LEVEL:
        # Rests of several pulses: half a bar of a meter that has a middle.
        return own >= HALF_BAR_LEVEL and length * 2 == meter.bar
    return strongest < own


def _bracket(symbols: list[Symbol], ternary: frozenset[int], meter: Meter) -> list[Symbol]:
    """Mark the tuplet that each symbol of a ternary pulse belongs to."""
    shortest = {
        pulse: min(s.duration for s in symbols if meter.pulse_start(s.start) == pulse)
        for pulse in ternary
    }
    marked: list[Symbol] = []
    for symbol in symbols:
        pulse = meter.pulse_start(symbol.start)
        if pulse in ternary:
            is_sextuplet = shortest[pulse] * 6 <= meter.pulse
            symbol = dataclasses.replace(  # noqa: PLW2901
                symbol,
                tuplet=Tuplet(
                    actual=6 if is_sextuplet else 3,
                    normal=4 if is_sextuplet else 2,
                    is_first=symbol.start == pulse,
                    is_last=symbol.end == pulse + meter.pulse,
                ),
            )
        marked.append(symbol)
    return marked


def beam_groups(symbols: Sequence[Symbol], meter: Meter) -> list[list[int]]:
    """Return the indices of symbols that share a beam: short notes of one pulse without rests.

    In bars with a middle, eighths share a beam over half a bar.
    """
    groups: list[list[int]] = []
    for index, symbol in enumerate(symbols):
        if not symbol.notes or flags(symbol) == 0:
            continue
        if groups and groups[-1][-1] == index - 1:
            before = symbols[groups[-1][-1]]
            if _share_beam(symbols, before, symbol, meter):
                groups[-1].append(index)
                continue
        groups.append([index])
    return [group for group in groups if len(group) > 1]


def _share_beam(symbols: Sequence[Symbol], before: Symbol, after: Symbol, meter: Meter) -> bool:
    level = meter.level(after.start)
    if level < PULSE_LEVEL:
        return True
    if level > PULSE_LEVEL or meter.pulse != TICKS_PER_QUARTER:
        return meter.pulse < TICKS_PER_QUARTER and level <= PULSE_LEVEL
    if meter.pulses_per_bar % 2:
        return False
    pulses = {meter.pulse_start(before.start), after.start}
    near = [s for s in symbols if meter.pulse_start(s.start) in pulses]
    return all(s.notes and s.duration == TICKS_PER_QUARTER // 2 for s in near)


def flags(symbol: Symbol) -> int:
    """Return the number of flags or beams of a value: 1 for an eighth, 2 for a sixteenth."""
    return {"eighth": 1, "16th": 2, "32nd": 3}.get(symbol.value, 0)
