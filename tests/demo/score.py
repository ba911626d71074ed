"""The demonstration's score, as data: a short piece written for this repository.

Four parts over seven bars of 4/4 at 120 beats per minute (14 seconds): piano, fingered bass, a
flute, and drums. A note is (beat it starts on, length in beats, MIDI pitch, velocity); all starts
and lengths are multiples of a quarter beat, so that at 480 ticks per beat the MIDI file holds the
score exactly.
"""

import dataclasses

BEATS_PER_MINUTE = 120
SECONDS_PER_BEAT = 60 / BEATS_PER_MINUTE
TOTAL_BEATS = 28


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class ScoreNote:
    """One note of one part."""

    start: float
    """Beats from the beginning."""
    length: float
    """Beats."""
    pitch: int
    velocity: int


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Part:
    """One instrument's notes."""

    name: str
    program: int
    """General MIDI, zero-based; 0 for drums."""
    is_drum: bool
    notes: tuple[ScoreNote, ...]


# One bar each: the left hand's fifth or tenth, and the right hand's chord.
_CHORDS = (
    (50, 57, (65, 69, 72)),  # D minor seventh
    (43, 55, (65, 69, 71)),  # G ninth
    (48, 55, (64, 67, 71)),  # C major seventh
    (45, 52, (60, 64, 67)),  # A minor seventh
    (41, 53, (60, 64, 69)),  # F major seventh
    (45, 55, (61, 64, 69)),  # A seventh
)
_BASS = (
    (38, 38, 45, 36),
    (31, 43, 38, 35),
    (36, 36, 43, 40),
    (33, 45, 40, 43),
    (41, 41, 36, 40),
    (33, 33, 37, 40),
)
# (beat, length, pitch): begins in the second bar, after the band.
_MELODY = (
    (4.0, 1.0, 74), (5.0, 0.5, 76), (5.5, 0.5, 77), (6.0, 1.5, 79), (7.5, 0.5, 77),
    (8.0, 1.0, 76), (9.0, 1.0, 72), (10.0, 2.0, 79),
    (12.0, 0.5, 81), (12.5, 0.5, 79), (13.0, 1.0, 76), (14.0, 1.0, 72), (15.0, 0.5, 74),
    (15.5, 0.5, 76),
    (16.0, 1.5, 77), (17.5, 0.5, 76), (18.0, 1.0, 74), (19.0, 1.0, 72),
    (20.0, 1.0, 73), (21.0, 1.0, 76), (22.0, 0.5, 79), (22.5, 0.5, 77), (23.0, 1.0, 76),
    (24.0, 2.5, 74),
)  # fmt: skip
_KICK, _SNARE, _CLOSED_HAT, _OPEN_HAT, _CRASH = 36, 38, 42, 46, 49


def compose() -> tuple[Part, ...]:
    """Return the whole score: piano, bass, flute, drums."""
    return (
        Part(name="Piano", program=0, is_drum=False, notes=_piano()),
        Part(name="Bass", program=33, is_drum=False, notes=_bass()),
        Part(name="Flute", program=73, is_drum=False, notes=_flute()),
        Part(name="Drums", program=0, is_drum=True, notes=_drums()),
    )


def _note(start: float, length: float, pitch: int, velocity: int) -> ScoreNote:
    return ScoreNote(start=start, length=length, pitch=pitch, velocity=velocity)


def _piano() -> tuple[ScoreNote, ...]:
    notes: list[ScoreNote] = []
    for bar, (low, middle, chord) in enumerate(_CHORDS):
        first = 4.0 * bar
        notes += [_note(first, 1.75, low, 78), _note(first + 2.0, 1.75, middle, 66)]
        notes += [_note(first, 1.25, pitch, 74) for pitch in chord]
        notes += [_note(first + 1.5, 0.5, pitch, 62) for pitch in chord]
        # Broken over the second half of the bar, so that single notes are heard too.
        notes += [_note(first + 2.5 + 0.5 * i, 0.5, pitch, 68) for i, pitch in enumerate(chord)]
    notes += [_note(24.0, 3.0, pitch, 80) for pitch in (38, 50, 57, 62, 65, 69)]
    return tuple(notes)


def _bass() -> tuple[ScoreNote, ...]:
    notes = [
        _note(4.0 * bar + beat, 0.75, pitch, 96 if beat == 0 else 84)
        for bar, pitches in enumerate(_BASS)
        for beat, pitch in enumerate(pitches)
    ]
    return (*notes, _note(24.0, 2.5, 38, 98))


def _flute() -> tuple[ScoreNote, ...]:
    return tuple(_note(start, length, pitch, 88) for start, length, pitch in _MELODY)


def _drums() -> tuple[ScoreNote, ...]:
    notes: list[ScoreNote] = []
    for bar in range(6):
        first = 4.0 * bar
        notes += [_note(first + beat, 0.25, _KICK, 105) for beat in (0.0, 2.0, 2.5)]
        notes += [_note(first + beat, 0.25, _SNARE, 100) for beat in (1.0, 3.0)]
        notes += [
            _note(first + 0.5 * i, 0.25, _CLOSED_HAT, 84 if i % 2 == 0 else 64) for i in range(7)
        ]
        notes.append(_note(first + 3.5, 0.25, _OPEN_HAT, 80))
    notes += [_note(24.0, 0.25, _KICK, 112), _note(24.0, 0.25, _CRASH, 100)]
    return tuple(sorted(notes, key=lambda note: (note.start, note.pitch)))
