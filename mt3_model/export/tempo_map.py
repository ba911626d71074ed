"""`MusicalTime` -> ticks: where the beats of a recording lie in a MIDI file.

In a file without beats, ticks are seconds at 120 beats per minute. In a file with beats, the grid
of bars lies on the beats of the recording, and the tempo changes so that every tick still has its
exact time: a note is placed at the tick nearest to its time, so its sound does not move. Between
tempo changes the tempo is constant for as many beats as stay within `_TOLERANCE_SECONDS` of their
places.
"""

import bisect
import dataclasses
import math

import numpy as np

from mt3_model.notes.musical_time import MusicalTime, TimeSignature

RESOLUTIONS = (120, 240, 480, 960, 1_920)
"""Ticks per quarter note. The first with ticks of at most `_TICK_SECONDS` is used, or the finest
that fits. All are multiples of 2, 3, 4, 6 and 8, so that quantized notes lie on ticks."""
_TICK_SECONDS = 0.001
MAX_TICKS = 10_000_000
"""The end of a file, in ticks. Source: pretty_midi 0.2.11, pretty_midi.py, ``MAX_TICK``, which
compares the last tick plus one."""
_TOLERANCE_SECONDS = 0.008
"""Largest distance of a beat from the grid: less than MT3's symbolic step of 10 ms."""
_LEAD_IN = 0.15
"""The shortest lead-in, in beats: if the first beat comes earlier, the file begins with it."""
_LEAD_IN_TOLERANCE = 0.1
"""The share by which the tempo of the lead-in may differ from the usual one."""
_MICROSECONDS = 1_000_000
_MAX_MICROSECONDS = (1 << 24) - 1
"""The longest quarter note that a tempo event of three bytes can hold: 16.8 s."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class TempoChange:
    """A tempo from one tick on."""

    tick: int
    seconds: float
    """The time of the tick."""
    microseconds: int
    """The length of a quarter note, as in a MIDI tempo event."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class MeterChange:
    """A time signature from one tick on."""

    tick: int
    numerator: int
    denominator: int


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class TempoMap:
    """The tempi and time signatures of a MIDI file."""

    ticks_per_quarter: int
    tempi: tuple[TempoChange, ...]
    """Ordered; the first is at tick 0."""
    meters: tuple[MeterChange, ...]

    def to_ticks(self, seconds: float) -> int:
        """Return the tick nearest to a time, at least 0."""
        index = bisect.bisect_right(self.tempi, seconds, key=lambda change: change.seconds) - 1
        change = self.tempi[max(index, 0)]
        per_second = self.ticks_per_quarter * _MICROSECONDS / change.microseconds
        return max(change.tick + round((seconds - change.seconds) * per_second), 0)

    def to_seconds(self, tick: int) -> float:
        """Return the time of a tick."""
        index = bisect.bisect_right(self.tempi, tick, key=lambda change: change.tick) - 1
        change = self.tempi[max(index, 0)]
        per_tick = change.microseconds / _MICROSECONDS / self.ticks_per_quarter
        return change.seconds + (tick - change.tick) * per_tick


def constant_tempo_map(
    ticks_per_quarter: int, beats_per_minute: float, meter: TimeSignature | None = None
) -> TempoMap:
    """Return the map of a file with one tempo.

    Args:
        ticks_per_quarter: the resolution.
        beats_per_minute: quarter notes per minute.
        meter: the time signature; 4/4 without one.
    """
    signature = meter or TimeSignature(numerator=4, denominator=4)
    microseconds = round(60 * _MICROSECONDS / beats_per_minute)
    return TempoMap(
        ticks_per_quarter=ticks_per_quarter,
        tempi=(TempoChange(tick=0, seconds=0.0, microseconds=microseconds),),
        meters=(_meter_at(0, signature),),
    )


def beat_tempo_map(time: MusicalTime, *, last: float, max_ticks: int) -> TempoMap:
    """Return the map of a file whose bars are those of the recording.

    Args:
        time: the beats and bars.
        last: the end of the file in seconds.
        max_ticks: the maximum number of ticks of the file.
    """
    beats, first_downbeat = _beats_from_zero(time)
    quarters = time.time_signature.quarters_per_beat
    needed = float(np.interp(last, beats, np.arange(len(beats)))) + max(
        (last - beats[-1]) / (beats[-1] - beats[-2]), 0.0
    )
    resolution = _choose_resolution(
        longest_quarter=float(np.diff(beats).max()) / quarters,
        most=(max_ticks - 2) / max(math.ceil(needed) * quarters, 1.0),
    )
    ticks_per_beat = round(quarters * resolution)
    return TempoMap(
        ticks_per_quarter=resolution,
        tempi=_tempo_changes(beats, ticks_per_beat, resolution),
        meters=_meters(time.time_signature, first_downbeat, ticks_per_beat),
    )


def _choose_resolution(*, longest_quarter: float, most: float) -> int:
    """Return the ticks per quarter: enough for the longest quarter in seconds, ``most`` at most."""
    fitting = [r for r in RESOLUTIONS if r <= most] or [RESOLUTIONS[0]]
    fine = (r for r in fitting if longest_quarter / r <= _TICK_SECONDS)
    return next(fine, fitting[-1])


def _beats_from_zero(time: MusicalTime) -> tuple[np.ndarray, int]:
    """Return beat times from 0 on, with whole beats before the first beat, and its first downbeat.

    Those before are shorter or longer than the others, so that the first note comes on time.
    """
    beats = np.asarray(time.beat_times)
    interval = float(beats[1] - beats[0])
    # A beat at or before 0, or so little after it that no beat fits between, becomes beat 0.
    skipped = min(int(np.searchsorted(beats, _LEAD_IN * interval)), len(beats) - 1)
    count = max(round(float(beats[skipped]) / interval), 1)
    lead_in = beats[skipped] * np.arange(count) / count
    first = (time.first_downbeat - skipped + count) % time.time_signature.beats_per_bar
    return np.concatenate((lead_in, beats[skipped:])), first


def _tempo_changes(
    beats: np.ndarray, ticks_per_beat: int, resolution: int
) -> tuple[TempoChange, ...]:
    """Cover the beats with as few constant tempi as keep them within the tolerance.

    Each change begins at the time that the whole microseconds of the earlier ones add up to, so
    rounding does not accumulate.
    """
    quarters = ticks_per_beat / resolution
    changes: list[TempoChange] = []
    begin, seconds = 0, 0.0
    while begin < len(beats) - 1:
        end = _last_beat_of_line(beats, begin, seconds)
        length = (float(beats[end]) - seconds) / (end - begin)
        microseconds = min(max(round(length / quarters * _MICROSECONDS), 1), _MAX_MICROSECONDS)
        changes.append(
            TempoChange(tick=begin * ticks_per_beat, seconds=seconds, microseconds=microseconds)
        )
        seconds += (end - begin) * quarters * microseconds / _MICROSECONDS
        begin = end
    usual = round(float(np.median(np.diff(beats))) / quarters * _MICROSECONDS)
    return _begin_with(min(usual, _MAX_MICROSECONDS), changes, resolution)


def _begin_with(usual: int, changes: list[TempoChange], resolution: int) -> tuple[TempoChange, ...]:
    """Give the first tick the usual tempo if the lead-in has another one.

    Sequencers show the first tempo as that of the piece, and some read no other.
    """
    tick_seconds = usual / _MICROSECONDS / resolution
    if len(changes) < 2 or changes[1].tick < 2 or changes[1].seconds <= tick_seconds:  # noqa: PLR2004
        return tuple(changes)
    first, second = changes[:2]
    if abs(first.microseconds - usual) <= _LEAD_IN_TOLERANCE * usual:
        return tuple(changes)
    left = (second.seconds - tick_seconds) * _MICROSECONDS * resolution / (second.tick - 1)
    return (
        TempoChange(tick=0, seconds=0.0, microseconds=usual),
        TempoChange(tick=1, seconds=tick_seconds, microseconds=max(round(left), 1)),
        *changes[1:],
    )


def _last_beat_of_line(beats: np.ndarray, begin: int, seconds: float) -> int:
    """Return the last beat that one tempo reaches with all beats between near their places."""
    slowest, fastest = np.inf, -np.inf
    best = begin + 1
    for beat in range(begin + 1, len(beats)):
        length = (float(beats[beat]) - seconds) / (beat - begin)
        if fastest <= length <= slowest:
            best = beat
        slowest = min(slowest, length + _TOLERANCE_SECONDS / (beat - begin))
        fastest = max(fastest, length - _TOLERANCE_SECONDS / (beat - begin))
        if fastest > slowest:
            break
    return best


def _meters(
    signature: TimeSignature, first_downbeat: int, ticks_per_beat: int
) -> tuple[MeterChange, ...]:
    """Return the time signature, after a shorter first bar if the first downbeat comes later."""
    whole = _meter_at(first_downbeat * ticks_per_beat, signature)
    if first_downbeat == 0:
        return (whole,)
    units = 3 if signature.is_compound else 1
    pickup = MeterChange(
        tick=0, numerator=first_downbeat * units, denominator=signature.denominator
    )
    return (pickup, whole)


def _meter_at(tick: int, signature: TimeSignature) -> MeterChange:
    return MeterChange(tick=tick, numerator=signature.numerator, denominator=signature.denominator)
