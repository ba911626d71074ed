"""Notes -> a piano roll as a PNG picture.

Time in seconds runs to the right and pitch upwards, with a line and a name at every C. Each track
has a colour, named in the legend. Drums have a separate lane below, with one row per percussion key
that occurs. The width grows with the music from 8 inches (up to 40 s) to 60 inches (5 minutes,
6,000 pixels); longer music is compressed.

The picture is drawn with matplotlib's object interface on the Agg canvas, without pyplot and its
global figures. Matplotlib's font cache is shared state, hence one drawing at a time. Matplotlib is
imported by the first drawing because the import takes 1.1 s.
"""

import io
import math
import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING

from mt3_model.notes.general_midi import DRUM_NAMES
from mt3_model.notes.note import NoteSequence
from mt3_model.notes.tracks import Track, group_tracks

if TYPE_CHECKING:
    # At run time matplotlib is imported by the first drawing.
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_HIGHEST_PITCH = 127
_DOTS_PER_INCH = 100
_MIN_WIDTH, _MAX_WIDTH = 8.0, 60.0
"""Inches."""
_SECONDS_PER_INCH = 5.0
"""A note of 100 ms is two pixels wide, except in pictures of minimum or maximum width."""
_PITCHED_HEIGHT, _ROW_HEIGHT = 5.0, 0.16
"""Inches: the height of the lane of pitched notes, and of one row of the drum lane."""
_LEGEND_COLUMN_WIDTH = 1.95
"""Inches, enough for the longest General MIDI name."""
_MARGIN_ROWS = 3
"""Semitones left free above and below the music."""
_MIN_ROWS = 36
"""Semitones shown at least, so that notes of a narrow range are not drawn very tall."""
_SEMITONES = 12
_BLACK_KEYS = frozenset({1, 3, 6, 8, 10})
"""Semitones above C."""

# Okabe and Ito's colours, which colour-blind people can distinguish, then Tol's muted set for more
# than seven programs. With more than fourteen, colours repeat.
_COLOURS = (
    "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#332288",
    "#882255", "#44AA99", "#999933", "#AA4499", "#117733", "#DDCC77", "#88CCEE",
)  # fmt: skip
_DRUM_COLOUR = "#404040"

_drawing_lock = threading.Lock()


def to_piano_roll_png(notes: NoteSequence, *, title: str | None = None) -> bytes:
    """Draw notes as a PNG picture.

    Args:
        notes: The notes of one recording; without notes the picture says "no notes".
        title: A title above the picture.
    """
    with _drawing_lock:
        figure = _draw(group_tracks(notes), notes.total_time, title)
        buffer = io.BytesIO()
        # Omit the matplotlib version, so that equal notes give equal bytes.
        figure.savefig(buffer, format="png", metadata={"Software": None})
    return buffer.getvalue()


def _draw(tracks: Sequence[Track], total_time: float, title: str | None) -> "Figure":
    from matplotlib.backends.backend_agg import FigureCanvasAgg  # noqa: PLC0415 (1.1 s)
    from matplotlib.figure import Figure  # noqa: PLC0415

    pitched = [track for track in tracks if not track.is_drum]
    drums = [track for track in tracks if track.is_drum]
    keys = sorted({note.pitch for track in drums for note in track.notes})
    drum_height = max(_ROW_HEIGHT * len(keys), 0.5) if keys else 0.0
    width = min(max(total_time / _SECONDS_PER_INCH, _MIN_WIDTH), _MAX_WIDTH)
    columns = max(int((width - 1) / _LEGEND_COLUMN_WIDTH), 1)
    legend_height = 0.25 * math.ceil(max(len(tracks), 1) / columns) + 0.15
    height = _PITCHED_HEIGHT + drum_height + legend_height + (0.95 if title else 0.6)
    figure = Figure(figsize=(width, height), dpi=_DOTS_PER_INCH, layout="constrained")
    FigureCanvasAgg(figure)
    if keys:
        upper, lower = figure.subplots(
            2, 1, sharex=True, height_ratios=[_PITCHED_HEIGHT, drum_height]
        )
        upper.tick_params(axis="x", length=0)
        _draw_drums(lower, drums, keys)
    else:
        upper = lower = figure.subplots()
    _draw_pitched(upper, pitched)
    if not tracks:
        upper.text(0.5, 0.5, "no notes", transform=upper.transAxes, ha="center", color="#808080")
    _draw_time_axis(lower, total_time, width)
    if title:
        figure.suptitle(title, fontsize=11)
    if tracks:
        _draw_legend(figure, pitched, drums, columns)
    return figure


def _draw_pitched(axes: "Axes", tracks: Sequence[Track]) -> None:
    low, high = _pitch_limits([note.pitch for track in tracks for note in track.notes])
    for pitch in range(low, high + 1):
        if pitch % _SEMITONES in _BLACK_KEYS:
            axes.axhspan(pitch - 0.5, pitch + 0.5, color="#F3F3F5", linewidth=0, zorder=0)
    octaves = [pitch for pitch in range(low, high + 1) if pitch % _SEMITONES == 0]
    for pitch in octaves:
        axes.axhline(pitch - 0.5, color="#C8C8D0", linewidth=0.8, zorder=1)
    for track, colour in zip(tracks, _colours(len(tracks)), strict=True):
        _draw_notes(axes, [(n.start_time, n.end_time, n.pitch) for n in track.notes], colour)
    axes.set_ylim(low - 0.5, high + 0.5)
    # MIDI 60 is C4, middle C.
    axes.set_yticks(octaves, [f"C{pitch // _SEMITONES - 1}" for pitch in octaves])
    _style_axes(axes)


def _pitch_limits(pitches: Sequence[int]) -> tuple[int, int]:
    """Return the lowest and highest pitch to show; without notes, a range around middle C."""
    low, high = (min(pitches), max(pitches)) if pitches else (60, 60)
    margin = max(_MARGIN_ROWS, (_MIN_ROWS - (high - low)) // 2)
    return max(low - margin, 0), min(high + margin, _HIGHEST_PITCH)


def _draw_drums(axes: "Axes", tracks: Sequence[Track], keys: Sequence[int]) -> None:
    """Draw one row per percussion key. A drum note lasts 10 ms, so it is drawn as a wider mark."""
    rows = {key: row for row, key in enumerate(keys)}
    for row in range(0, len(keys), 2):
        axes.axhspan(row - 0.5, row + 0.5, color="#F3F3F5", linewidth=0, zorder=0)
    hits = [(n.start_time, rows[n.pitch]) for track in tracks for n in track.notes]
    axes.plot(
        [time for time, _ in hits],
        [row for _, row in hits],
        linestyle="none",
        marker="|",
        markersize=7,
        markeredgewidth=1.6,
        color=_DRUM_COLOUR,
        zorder=3,
    )
    axes.set_ylim(-0.5, len(keys) - 0.5)
    axes.set_yticks(
        range(len(keys)), [DRUM_NAMES.get(key, f"Key {key}") for key in keys], fontsize=7
    )
    _style_axes(axes)


def _draw_notes(axes: "Axes", spans: Sequence[tuple[float, float, int]], colour: str) -> None:
    from matplotlib.collections import PolyCollection  # noqa: PLC0415 (with matplotlib)

    bars = [
        [(start, pitch - 0.4), (end, pitch - 0.4), (end, pitch + 0.4), (start, pitch + 0.4)]
        for start, end, pitch in spans
    ]
    axes.add_collection(
        PolyCollection(bars, facecolors=colour, edgecolors="white", linewidths=0.3, zorder=2),
        autolim=False,
    )


def _draw_time_axis(axes: "Axes", total_time: float, width: float) -> None:
    end = max(total_time, 1.0)
    axes.set_xlim(-0.01 * end, 1.01 * end)
    # About one tick label per inch.
    axes.locator_params(axis="x", nbins=int(width), steps=[1, 2, 5, 10])
    axes.set_xlabel("seconds", fontsize=9)


def _draw_legend(
    figure: "Figure", pitched: Sequence[Track], drums: Sequence[Track], columns: int
) -> None:
    from matplotlib.patches import Patch  # noqa: PLC0415 (with matplotlib)

    patches = [
        Patch(facecolor=colour, label=track.name)
        for track, colour in zip(pitched, _colours(len(pitched)), strict=True)
    ]
    patches += [Patch(facecolor=_DRUM_COLOUR, label=track.name) for track in drums]
    figure.legend(
        handles=patches,
        loc="outside lower left",
        ncols=min(columns, len(patches)),
        frameon=False,
        fontsize=8,
        handlelength=1.2,
    )


def _style_axes(axes: "Axes") -> None:
    """Remove the box and draw thin vertical grid lines."""
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    axes.spines["bottom"].set_color("#808080")
    axes.tick_params(axis="y", length=0, labelsize=8)
    axes.tick_params(axis="x", color="#808080", labelsize=8)
    axes.grid(axis="x", color="#E4E4E8", linewidth=0.6)
    axes.set_axisbelow(True)


def _colours(count: int) -> list[str]:
    return [_COLOURS[index % len(_COLOURS)] for index in range(count)]
