"""Notes of simple music with known beats."""

from collections.abc import Iterable, Sequence

import numpy as np

from mt3_model.notes.note import Note, NoteSequence

KICK, SNARE, HAT = 36, 38, 42
BASS, PIANO = 33, 0


def beat_times(count: int, *, tempo: float, start: float = 0.5, drift: float = 0.0) -> np.ndarray:
    """Return beats; each is longer than the one before by the share ``drift``."""
    lengths = 60.0 / tempo * (1 + drift) ** np.arange(count - 1)
    return start + np.concatenate(([0.0], np.cumsum(lengths)))


def sequence(notes: Iterable[Note]) -> NoteSequence:
    made = tuple(sorted(notes, key=lambda n: n.end_time))
    return NoteSequence(notes=made, total_time=max((n.end_time for n in made), default=0.0))


def place(
    beats: np.ndarray, events: Iterable[tuple[float, float, int, int | None]]
) -> NoteSequence:
    """Return the notes of events (beat, length in beats, pitch, program; None for drums)."""
    index = np.arange(len(beats))
    notes: list[Note] = []
    for position, length, pitch, program in events:
        start, end = np.interp([position, position + length], index, beats)
        start = round(float(start), 2)
        notes.append(
            Note(
                pitch=pitch,
                start_time=start,
                end_time=max(round(float(end), 2), start + 0.01),
                velocity=127,
                program=program or 0,
                is_drum=program is None,
            )
        )
    return sequence(notes)


def chords(
    bars: int, per_bar: int, roots: Sequence[int] = (48, 53, 55, 50)
) -> list[tuple[float, float, int, int | None]]:
    """Return a bass note and then two or more chords per bar, with another root each bar."""
    events: list[tuple[float, float, int, int | None]] = []
    for bar in range(bars):
        root = roots[bar % len(roots)]
        events.append((bar * per_bar, float(per_bar), root - 12, BASS))
        for beat in range(1, per_bar):
            events.extend((bar * per_bar + beat, 0.8, root + i, PIANO) for i in (0, 4, 7))
        events.extend(
            (bar * per_bar + beat + half, 0.45, root + 12 + int(2 * half), 73)
            for beat in range(per_bar)
            for half in (0.0, 0.5)
        )
    return events


def rock(bars: int) -> list[tuple[float, float, int, int | None]]:
    """Return kick, snare and hi-hats of bars of 4/4."""
    events: list[tuple[float, float, int, int | None]] = []
    for bar in range(bars):
        events.extend((4 * bar + beat, 0.02, KICK, None) for beat in (0, 2, 2.5))
        events.extend((4 * bar + beat, 0.02, SNARE, None) for beat in (1, 3))
        events.extend((4 * bar + beat / 2, 0.02, HAT, None) for beat in range(8))
    return events
