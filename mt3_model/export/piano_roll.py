"""Notes -> a piano roll as a PNG or SVG picture.

Time runs to the right and pitch upwards, with a line and a name at every C. Each instrument has a
colour, named in the legend; louder notes are more opaque. Drums have a separate lane, with one
named row per percussion key that occurs. Where the beats are known, bars have lines and numbers.
Long music continues in rows below (`piano_roll_scale.py`).
"""

import dataclasses
import itertools
import math
from collections.abc import Iterator, Sequence

from mt3_model.export.piano_roll_scale import (
    LANE_GAP,
    MARGIN,
    ROW_GAP,
    SMALL_FONT,
    Scale,
    choose_scale,
    drum_label,
)
from mt3_model.export.picture import (
    Picture,
    Rectangles,
    Shape,
    Text,
    text_width,
)
from mt3_model.notes.musical_time import MusicalTime
from mt3_model.notes.note import Note, NoteSequence
from mt3_model.notes.tracks import Track, group_tracks

_FONT, _TITLE_FONT = 11.0, 16.0
_LEGEND_ROW, _SWATCH = 18.0, 11.0
_MIN_TICK, _MIN_BAR_NUMBER, _MIN_BAR_LINE = 70, 34, 7
"""The minimum distance between two time labels, two bar numbers and two bar lines."""
_TICKS = (
    0.1,
    0.2,
    0.5,
    1.0,
    2.0,
    5.0,
    10.0,
    15.0,
    30.0,
    60.0,
    120.0,
    300.0,
    600.0,
    1_800.0,
    3_600.0,
)
"""Seconds between time labels."""

_MAX_VELOCITY = 127
_SEMITONES = 12
_BLACK_KEYS = frozenset({1, 3, 6, 8, 10})
"""Semitones above C."""
_LEAST_OPACITY = 0.35
_DRUM_SECONDS = 0.08
"""The width of a drum note, within limits."""
_OPACITIES = 8
"""Number of opacities for velocities: few, so that one shape holds many notes."""

# Okabe and Ito's colours, which colour-blind people can distinguish, without the yellow that is
# pale on white; then Tol's muted set. Further instruments repeat them darker.
_COLOURS = (
    "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#332288",
    "#882255", "#44AA99", "#999933", "#AA4499", "#117733", "#DDCC77", "#88CCEE",
)  # fmt: skip
_DRUM_COLOUR = "#404040"
_BACKGROUND, _BLACK_KEY, _OCTAVE_LINE = "#FCFCFD", "#F1F1F4", "#CDCDD6"
_BAR_LINE, _TICK_LINE, _LABEL = "#A9A9B8", "#E3E3EA", "#666670"


def draw_piano_roll(
    notes: NoteSequence,
    *,
    musical_time: MusicalTime | None = None,
    start: float = 0.0,
    end: float | None = None,
    title: str | None = None,
) -> Picture:
    """Lay out the picture.

    Args:
        notes: The notes of one recording; without notes the picture says "no notes".
        musical_time: The beats and bars, on the notes' clock.
        start: The time at the left edge, seconds; an earlier note moves it.
        end: The time at the right edge, seconds; by default, and at least, the last offset.
        title: A title above the picture.
    """
    tracks = group_tracks(notes)
    scale = choose_scale(
        tracks,
        total_time=notes.total_time,
        start=start,
        end=end,
        has_bars=musical_time is not None,
    )
    colours = _assign_colours(tracks)
    shapes: list[Shape] = []
    top = float(MARGIN)
    if title:
        top += _TITLE_FONT
        shapes.append(Text(x=MARGIN, baseline=top - 3, text=title, size=_TITLE_FONT))
        top += 4
    legend, top = _draw_legend(tracks, colours, scale.width, top)
    shapes += legend
    notes_of_rows = [_split_by_row(track.notes, scale) for track in tracks]
    for row in range(scale.rows):
        area = _Row(scale=scale, top=top + row * scale.row_pitch, start=scale.row_start(row))
        shapes += area.draw_background(musical_time)
        for track_rows, colour in zip(notes_of_rows, colours, strict=True):
            shapes += area.draw_notes(track_rows[row], colour)
    if not tracks:
        middle = top + scale.pitched_height / 2
        shapes.append(
            Text(x=scale.width / 2, baseline=middle, text="no notes", size=14.0, anchor="middle")
        )
    names = ", ".join(track.name for track in tracks) or "no notes"
    return Picture(
        width=scale.width,
        height=math.ceil(top + scale.rows * scale.row_pitch - ROW_GAP + MARGIN),
        shapes=shapes,
        description=f"{title or 'Piano roll'}: {names}",
    )


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class _Row:
    """One row of a picture."""

    scale: Scale
    top: float
    start: float

    def draw_background(self, musical_time: MusicalTime | None) -> Iterator[Shape]:
        """Yield the lanes, their lines and labels, the time axis and the bars."""
        yield from self._draw_pitched_lane()
        if self.scale.keys:
            yield from self._draw_drum_lane()
        yield from self._draw_time_axis(has_lines=musical_time is None)
        if musical_time is not None:
            yield from self._draw_bars(musical_time)

    def draw_notes(self, notes: Sequence[Note], colour: str) -> Iterator[Shape]:
        """Yield one track's notes of this row, one shape for each opacity."""
        boxes: dict[int, list[tuple[float, float, float, float]]] = {}
        for note in notes:
            level = round(note.velocity / _MAX_VELOCITY * _OPACITIES)
            boxes.setdefault(level, []).append(self._box(note))
        for level, group in sorted(boxes.items()):
            opacity = _LEAST_OPACITY + (1 - _LEAST_OPACITY) * level / _OPACITIES
            yield Rectangles(boxes=group, colour=colour, opacity=opacity)

    @property
    def _end(self) -> float:
        return self.start + self.scale.row_seconds

    @property
    def _lanes(self) -> float:
        return self.top + self.scale.head

    @property
    def _width(self) -> float:
        return self.scale.row_seconds * self.scale.units_per_second

    def _x(self, seconds: float) -> float:
        return self.scale.left + (seconds - self.start) * self.scale.units_per_second

    def _pitch_top(self, pitch: int) -> float:
        return self._lanes + (self.scale.highest - pitch) * self.scale.semitone

    def _key_top(self, row: int) -> float:
        """Return the top of a drum row; the lowest key is at the bottom."""
        lane = self._lanes + self.scale.pitched_height + LANE_GAP
        return lane + (len(self.scale.keys) - 1 - row) * self.scale.drum_row

    def _box(self, note: Note) -> tuple[float, float, float, float]:
        left = self._x(max(note.start_time, self.start))
        if note.is_drum:
            # The length of a drum note means nothing.
            top, height = self._key_top(self.scale.keys.index(note.pitch)), self.scale.drum_row
            width = min(max(_DRUM_SECONDS * self.scale.units_per_second, 1.5), 3.0)
            return left, top + height * 0.12, width, height * 0.76
        width = self._x(min(note.end_time, self._end)) - left
        # A gap separates repeated notes.
        width = max(width - min(0.75, width / 4), 1.0)
        gap = self.scale.semitone * 0.08
        top = self._pitch_top(note.pitch) + gap
        return left, top, width, self.scale.semitone - 2 * gap

    def _draw_pitched_lane(self) -> Iterator[Shape]:
        scale = self.scale
        pitches = range(scale.lowest, scale.highest + 1)
        lane = (scale.left, self._lanes, self._width, scale.pitched_height)
        yield Rectangles(boxes=[lane], colour=_BACKGROUND)
        black = [pitch for pitch in pitches if pitch % _SEMITONES in _BLACK_KEYS]
        yield Rectangles(
            boxes=[(scale.left, self._pitch_top(p), self._width, scale.semitone) for p in black],
            colour=_BLACK_KEY,
        )
        octaves = [pitch for pitch in pitches if pitch % _SEMITONES == 0]
        lines = [self._pitch_top(pitch) + scale.semitone for pitch in octaves]
        yield Rectangles(
            boxes=[(scale.left, y - 0.5, self._width, 1.0) for y in lines], colour=_OCTAVE_LINE
        )
        for pitch, line in zip(octaves, lines, strict=True):
            # MIDI 60 is C4, middle C.
            yield _label(
                scale.left - 6, line, f"C{pitch // _SEMITONES - 1}", size=_FONT, anchor="end"
            )

    def _draw_drum_lane(self) -> Iterator[Shape]:
        scale = self.scale
        left, width, height = scale.left, self._width, scale.drum_row
        tops = [self._key_top(row) for row in range(len(scale.keys))]
        yield Rectangles(boxes=[(left, top, width, height) for top in tops], colour=_BACKGROUND)
        yield Rectangles(boxes=[(left, top, width, height) for top in tops[::2]], colour=_BLACK_KEY)
        if height > SMALL_FONT:
            for key, top in zip(scale.keys, tops, strict=True):
                yield _label(left - 6, top + height - 2, drum_label(key), anchor="end")

    def _draw_time_axis(self, *, has_lines: bool) -> Iterator[Shape]:
        scale = self.scale
        steps = (step for step in _TICKS if step * scale.units_per_second >= _MIN_TICK)
        step = next(steps, _TICKS[-1])
        first, last = math.ceil(self.start / step - 1e-9), math.floor(self._end / step + 1e-9)
        ticks = [number * step for number in range(first, last + 1)]
        bottom = self._lanes + scale.row_height
        top, height = (self._lanes, scale.row_height + 3) if has_lines else (bottom, 4.0)
        colour = _TICK_LINE if has_lines else _BAR_LINE
        yield Rectangles(
            boxes=[(self._x(tick) - 0.5, top, 1.0, height) for tick in ticks], colour=colour
        )
        for tick in ticks:
            text = _clock(tick, tenths=step < 1)
            x = min(self._x(tick), scale.width - text_width(text, _FONT) / 2 - 2)
            yield _label(x, bottom + 14, text, size=_FONT, anchor="middle")

    def _draw_bars(self, musical_time: MusicalTime) -> Iterator[Shape]:
        """Yield a line for each bar, and numbers as dense as they can be read.

        The first full bar is number 1, as in scores.
        """
        per_bar = musical_time.time_signature.beats_per_bar
        downbeats = musical_time.beat_times[musical_time.first_downbeat :: per_bar]
        lengths = [later - earlier for earlier, later in itertools.pairwise(downbeats)]
        if not lengths:
            return
        width = sum(lengths) / len(lengths) * self.scale.units_per_second
        number_every = _round_up(_MIN_BAR_NUMBER / width)
        line_every = 1 if width >= _MIN_BAR_LINE else number_every
        bars = [(i, t) for i, t in enumerate(downbeats) if self.start <= t < self._end]
        lines = [self._x(time) - 0.5 for i, time in bars if i % line_every == 0]
        yield Rectangles(
            boxes=[(x, self._lanes, 1.0, self.scale.row_height) for x in lines],
            colour=_BAR_LINE,
            opacity=0.6,
        )
        for i, time in bars:
            if i % number_every == 0:
                yield _label(self._x(time), self._lanes - 3, str(i + 1), anchor="middle")


def _split_by_row(notes: Sequence[Note], scale: Scale) -> list[list[Note]]:
    """Return the notes that sound in each row; a note across rows is in each of them."""
    rows: list[list[Note]] = [[] for _ in range(scale.rows)]
    for note in notes:
        first = int((note.start_time - scale.start) / scale.row_seconds)
        last = first if note.is_drum else int((note.end_time - scale.start) / scale.row_seconds)
        for row in rows[min(first, scale.rows - 1) : last + 1]:
            row.append(note)
    return rows


def _draw_legend(
    tracks: Sequence[Track], colours: Sequence[str], width: int, top: float
) -> tuple[list[Shape], float]:
    """Return the legend's shapes, wrapped to the width, and the edge below it."""
    shapes: list[Shape] = []
    x = float(MARGIN)
    for track, colour in zip(tracks, colours, strict=True):
        # A viewer of the SVG may have a wider font.
        needed = _SWATCH + 5 + 1.12 * text_width(track.name, _FONT + 1)
        if x > MARGIN and x + needed > width - MARGIN:
            x, top = float(MARGIN), top + _LEGEND_ROW
        shapes.append(Rectangles(boxes=[(x, top, _SWATCH, _SWATCH)], colour=colour))
        shapes.append(
            Text(x=x + _SWATCH + 5, baseline=top + _SWATCH - 1, text=track.name, size=_FONT + 1)
        )
        x += needed + 18
    return shapes, top + _LEGEND_ROW + 4 if tracks else top


def _assign_colours(tracks: Sequence[Track]) -> list[str]:
    """Return a colour per track; the drums are grey."""
    numbers = itertools.count()
    return [_DRUM_COLOUR if track.is_drum else _colour(next(numbers)) for track in tracks]


def _colour(number: int) -> str:
    """Return the colour of the instrument of this number, darker in each round of the palette."""
    turn, index = divmod(number, len(_COLOURS))
    value = int(_COLOURS[index][1:], 16)
    channels = (round((value >> shift & 255) * 0.65**turn) for shift in (16, 8, 0))
    return "#" + "".join(f"{channel:02X}" for channel in channels)


def _label(x: float, baseline: float, text: str, *, size: float = SMALL_FONT, anchor: str) -> Text:
    return Text(
        x=x, baseline=baseline, text=text, size=size, colour=_LABEL,
        anchor="end" if anchor == "end" else "middle",
    )  # fmt: skip


def _clock(seconds: float, *, tenths: bool) -> str:
    """Return a time as m:ss, or h:mm:ss from an hour on."""
    total = round(seconds * 10)
    minutes, rest = divmod(total, 600)
    hours, minutes = divmod(minutes, 60)
    clock = f"{hours}:{minutes:02}" if hours else f"{minutes}"
    return f"{clock}:{rest // 10:02}" + (f".{rest % 10}" if tenths else "")


def _round_up(number: float) -> int:
    """Return 1, 2, 5, 10, 20, 50...: the next at or above a number."""
    for power in itertools.count():
        for factor in (1, 2, 5):
            if factor * 10**power >= number:
                return factor * 10**power
    raise AssertionError("counting does not end")
