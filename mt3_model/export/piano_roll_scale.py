"""The scale of a piano roll: its width, its rows and the height of a semitone.

Up to a minute fills one row of at most 1,600 units. Longer music continues in rows below, as in a
score, each of a minute; from 24 rows on the rows get longer instead, so an hour has rows of 2.5
minutes. All rows together are at most 12,000 units high: with many pitches and percussion keys,
semitones get lower. So a picture has at most 20 million pixels, whatever its length.
"""

import dataclasses
import math
from collections.abc import Sequence

from mt3_model.export.picture import text_width
from mt3_model.notes.general_midi import DRUM_NAMES
from mt3_model.notes.tracks import Track

MARGIN, ROW_GAP, LANE_GAP = 12.0, 16.0, 5.0
AXIS_HEIGHT = 16.0
"""The height of the time axis below a row."""
SMALL_FONT = 9.0
_BAR_NUMBERS = 13.0
"""The height of the bar numbers above a row."""
_MIN_WIDTH, _MAX_WIDTH = 800, 1_600
_UNITS_PER_SECOND = 40.0
"""Up to `_MAX_WIDTH`: a note of 100 ms is 4 units wide."""
_ROW_SECONDS = 60.0
_MAX_ROWS = 24
_MAX_ROWS_HEIGHT = 12_000
_SEMITONE, _SEMITONE_OF_MANY = 8.0, 5.0
"""The height of a semitone in a picture of one row, and of several."""
_DRUM_ROW = 11.0
_PITCH_LABEL = 26.0
_HIGHEST_PITCH = 127
_MARGIN_PITCHES, _MIN_PITCHES = 2, 24
"""Semitones free above and below the music, and semitones shown at least."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Scale:
    """The sizes that all rows of a picture share."""

    width: int
    left: float
    """The left edge of the lanes; labels are left of it."""
    start: float
    """The time at the left edge of the first row."""
    row_seconds: float
    rows: int
    units_per_second: float
    lowest: int
    highest: int
    semitone: float
    keys: Sequence[int]
    """The percussion keys that occur, ascending."""
    drum_row: float
    head: float
    """The height above the lanes of a row, for bar numbers."""

    @property
    def pitched_height(self) -> float:
        """The height of the lane of pitched notes."""
        return (self.highest - self.lowest + 1) * self.semitone

    @property
    def row_height(self) -> float:
        """The height of both lanes of a row."""
        drums = LANE_GAP + len(self.keys) * self.drum_row if self.keys else 0.0
        return self.pitched_height + drums

    @property
    def row_pitch(self) -> float:
        """The distance of two rows."""
        return self.head + self.row_height + AXIS_HEIGHT + ROW_GAP

    def row_start(self, row: int) -> float:
        """Return the time at the left edge of a row."""
        return self.start + row * self.row_seconds


def choose_scale(
    tracks: Sequence[Track],
    *,
    total_time: float,
    start: float,
    end: float | None,
    has_bars: bool,
) -> Scale:
    """Choose the sizes for the notes.

    Args:
        tracks: The tracks of the notes.
        total_time: The last offset, seconds.
        start: The time at the left edge; an earlier note moves it.
        end: The time at the right edge, or None.
        has_bars: Whether bar numbers need room above each row.
    """
    every = [note for track in tracks for note in track.notes]
    first = min([start, *(note.start_time for note in every)])
    last = max([total_time, end or 0.0, first + 1.0])
    keys = sorted({note.pitch for note in every if note.is_drum})
    seconds = last - first
    rows = min(max(math.ceil(seconds / _ROW_SECONDS - 1e-9), 1), _MAX_ROWS)
    row_seconds = seconds if rows == 1 else max(_ROW_SECONDS, float(math.ceil(seconds / rows)))
    rows = math.ceil(seconds / row_seconds - 1e-9)
    labels = [text_width(drum_label(key), SMALL_FONT) for key in keys]
    left = MARGIN + max([_PITCH_LABEL, *labels]) + 6
    wanted = left + MARGIN + seconds * _UNITS_PER_SECOND
    width = min(max(round(wanted), _MIN_WIDTH), _MAX_WIDTH)
    lowest, highest = _pitch_limits([note.pitch for note in every if not note.is_drum])
    head = _BAR_NUMBERS if has_bars else 0.0
    room = _MAX_ROWS_HEIGHT / rows - head - AXIS_HEIGHT - ROW_GAP - LANE_GAP
    semitone = _SEMITONE if rows == 1 else _SEMITONE_OF_MANY
    shrink = min(room / ((highest - lowest + 1) * semitone + len(keys) * _DRUM_ROW), 1.0)
    return Scale(
        width=width,
        left=left,
        start=first,
        row_seconds=row_seconds,
        rows=rows,
        units_per_second=(width - left - MARGIN) / row_seconds,
        lowest=lowest,
        highest=highest,
        semitone=semitone * shrink,
        keys=keys,
        drum_row=_DRUM_ROW * shrink,
        head=head,
    )


def _pitch_limits(pitches: Sequence[int]) -> tuple[int, int]:
    """Return the lowest and highest pitch to show; without notes, a range around middle C."""
    low, high = (min(pitches), max(pitches)) if pitches else (60, 60)
    margin = max(_MARGIN_PITCHES, (_MIN_PITCHES - (high - low)) // 2)
    return max(low - margin, 0), min(high + margin, _HIGHEST_PITCH)


def drum_label(key: int) -> str:
    """Return the name of a percussion key."""
    return DRUM_NAMES.get(key, f"Key {key}")
