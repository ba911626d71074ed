"""The grid of bars and pulses that a score is written on, in integer ticks.

A tick is 1/24 of a quarter note, which divides by 8 (thirty-second notes) and by 3 and 6
(triplets), so every written length is a whole number of ticks and bars add up exactly. Tick 0 is
the first beat of `MusicalTime`. The beats before the first downbeat are one shorter bar, the
pickup.

A pulse is the unit whose subdivision is chosen when notes are quantized: the beat, except in
meters over 2, whose half-note beats are two pulses.
"""

import dataclasses

from mt3_model.notes.musical_time import MusicalTime, TimeSignature

TICKS_PER_QUARTER = 24

BAR_LEVEL, HALF_BAR_LEVEL, PULSE_LEVEL = 5, 4, 3
_PULSES_WITH_HALF_BAR = (4, 12)
"""Numbers of pulses whose bars have an audible middle: 4/4, 2/2, 12/8 and 12/4."""
_LEVELS_IN_PULSE = ((12, 2), (6, 1))
"""Levels of eighths and sixteenths in a pulse of a quarter or a dotted quarter."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Bar:
    """One bar of the score, in ticks."""

    index: int
    start: int
    end: int


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Meter:
    """The bars and pulses of a score."""

    time_signature: TimeSignature
    pulse: int
    """Ticks per pulse: 24 for a quarter, 12 for an eighth, 36 for the dotted quarter of 6/8."""
    pulses_per_beat: int
    """2 in meters over 2, else 1."""
    pulses_per_bar: int
    pickup: int
    """Ticks of the bar before the first downbeat; 0 if the music begins with a downbeat."""

    @property
    def bar(self) -> int:
        """Ticks per bar."""
        return self.pulse * self.pulses_per_bar

    def bars_until(self, end: int) -> tuple[Bar, ...]:
        """Return the bars that cover ticks 0 to ``end``; at least one."""
        bars: list[Bar] = []
        start, stop = 0, self.pickup or self.bar
        while not bars or start < end:
            bars.append(Bar(index=len(bars), start=start, end=stop))
            start, stop = stop, stop + self.bar
        return tuple(bars)

    def bar_index(self, tick: int) -> int:
        """Return the index of the bar that a tick is in."""
        if not self.pickup:
            return tick // self.bar
        return 0 if tick < self.pickup else 1 + (tick - self.pickup) // self.bar

    def offset_in_bar(self, tick: int) -> int:
        """Return a tick's distance from the start of its bar; a pickup's from a whole bar's."""
        return (tick - self.pickup) % self.bar

    def pulse_start(self, tick: int) -> int:
        """Return the start of the pulse that a tick is in."""
        return tick - tick % self.pulse

    def level(self, tick: int) -> int:
        """Return how strong a position is: 5 for a bar line, 3 for a pulse, down to 0.

        Half of a bar of four (or twelve) pulses is 4, half a pulse 2 and a quarter of it 1; in
        compound meters eighths are 2.
        """
        offset = self.offset_in_bar(tick)
        if offset == 0:
            return BAR_LEVEL
        if self.pulses_per_bar in _PULSES_WITH_HALF_BAR and offset * 2 == self.bar:
            return HALF_BAR_LEVEL
        if offset % self.pulse == 0:
            return PULSE_LEVEL
        within = offset % self.pulse
        if self.pulse < TICKS_PER_QUARTER:
            within = within * TICKS_PER_QUARTER // self.pulse
        return next((level for ticks, level in _LEVELS_IN_PULSE if within % ticks == 0), 0)


def build_meter(musical_time: MusicalTime) -> Meter:
    """Build the meter of a recording from its beats and bars."""
    signature = musical_time.time_signature
    pulses_per_beat = 2 if signature.denominator == 2 and not signature.is_compound else 1  # noqa: PLR2004
    beat = round(signature.quarters_per_beat * TICKS_PER_QUARTER)
    return Meter(
        time_signature=signature,
        pulse=beat // pulses_per_beat,
        pulses_per_beat=pulses_per_beat,
        pulses_per_bar=signature.beats_per_bar * pulses_per_beat,
        pickup=musical_time.first_downbeat * beat,
    )
