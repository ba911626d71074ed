"""Notes at their played times -> notes on the grid of the beats, at one tempo."""

import dataclasses

import numpy as np
from msgspec import structs

from mt3_model.notes.beat_positions import beats_at
from mt3_model.notes.musical_time import MusicalTime
from mt3_model.notes.note import NoteSequence

_SECONDS_PER_MINUTE = 60.0


def quantized_tempo(time: MusicalTime) -> int:
    """Return the tempo of the quantized music: whole quarter notes per minute."""
    return max(round(time.tempo * time.time_signature.quarters_per_beat), 1)


def quantize_notes(notes: NoteSequence, time: MusicalTime, grid: int) -> tuple[NoteSequence, float]:
    """Move onsets and offsets to the nearest step of the grid.

    Args:
        notes: the notes as played.
        time: the beats and bars.
        grid: steps per quarter note.

    Returns:
        The notes in the same order, on a clock that has `quantized_tempo` and begins with a bar,
        each at least a step long; and the end of the last bar, in seconds.
    """
    quarters = time.time_signature.quarters_per_beat
    per_bar = time.time_signature.beats_per_bar
    starts = _steps(time, [note.start_time for note in notes.notes], grid)
    ends = _steps(time, [note.end_time for note in notes.notes], grid)
    # The bar in which the first note begins comes first.
    origin = time.first_downbeat * quarters * grid
    bar = per_bar * quarters * grid
    first = origin + np.floor((starts.min(initial=origin) - origin) / bar) * bar
    step_seconds = _SECONDS_PER_MINUTE / quantized_tempo(time) / grid
    onsets = (starts - first) * step_seconds
    offsets = (np.maximum(ends, starts + 1) - first) * step_seconds
    moved = tuple(
        structs.replace(note, start_time=float(start), end_time=float(end))
        for note, start, end in zip(notes.notes, onsets, offsets, strict=True)
    )
    last = float(offsets.max(initial=0.0))
    bar_seconds = bar * step_seconds
    return (
        dataclasses.replace(notes, notes=moved, total_time=last),
        float(np.ceil(last / bar_seconds - 1e-9) * bar_seconds),
    )


def _steps(time: MusicalTime, seconds: list[float], grid: int) -> np.ndarray:
    positions = beats_at(time, np.array(seconds, np.float64))
    return np.round(positions * time.time_signature.quarters_per_beat * grid)
