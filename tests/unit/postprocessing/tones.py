"""Notes and the sounds of them, for tests of the clean-up."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float32

from mt3_model.notes.note import Note
from mt3_model.postprocessing.sound import RecordingSound

SAMPLE_RATE = 16_000
VOICE_SECONDS = 12.288
"""Six segments."""


def note(
    pitch: int, start: float = 0.0, end: float = 1.0, *, program: int = 0, drum: bool = False
) -> Note:
    return Note(
        pitch=pitch,
        start_time=float(start),
        end_time=float(end),
        velocity=90,
        program=program,
        is_drum=drum,
        instrument=9 if drum else 0,
    )


def sound_of(notes: Sequence[Note], seconds: float) -> RecordingSound:
    """Return the sound of notes, as `sample_notes` renders them."""
    sound = RecordingSound(SAMPLE_RATE)
    sound.add_samples(sample_notes(notes, seconds))
    return sound


def sample_notes(notes: Sequence[Note], seconds: float) -> Float32[np.ndarray, " N"]:
    """Render each note as six partials of equal strength."""
    times = np.arange(round(seconds * SAMPLE_RATE)) / SAMPLE_RATE
    samples = np.zeros(len(times))
    for each in notes:
        frequency = 440.0 * 2.0 ** ((each.pitch - 69) / 12)
        sounding = (times >= each.start_time) & (times < each.end_time)
        for partial in range(1, 7):
            samples += 0.02 * sounding * np.sin(2.0 * np.pi * frequency * partial * times)
    return samples.astype(np.float32)


def sample_voice(
    *, syllables: bool, glides: bool, regular: bool = False, seconds: float = VOICE_SECONDS
) -> Float32[np.ndarray, " N"]:
    """Render a voice at 150 Hz with eleven partials, with syllables or a gliding pitch.

    Syllables last a sixth to a third of a second, or all equally long.
    """
    times = np.arange(round(seconds * SAMPLE_RATE)) / SAMPLE_RATE
    semitones = 4.0 * np.sin(2 * np.pi * 1.3 * times) if glides else np.zeros(len(times))
    phase = 2 * np.pi * np.cumsum(150.0 * 2.0 ** (semitones / 12)) / SAMPLE_RATE
    samples = np.sum([np.sin(h * phase) for h in range(1, 12)], axis=0) * 0.03
    if syllables:
        spread = 0.0 if regular else 1.0
        lengths = 0.22 + spread * np.random.default_rng(1).uniform(
            -0.06, 0.11, 8 * int(seconds + 1)
        )
        position = np.interp(times, np.cumsum(lengths), np.arange(len(lengths)))
        samples = samples * np.clip(np.sin(2 * np.pi * position), 0.02, None)
    return samples.astype(np.float32)


def sample_singing(
    *, vibrato: bool, consonants: bool, seconds: float = VOICE_SECONDS
) -> Float32[np.ndarray, " N"]:
    """Render a melody of 20 partials, with vibrato, or with a hiss before each of its notes."""
    times = np.arange(round(seconds * SAMPLE_RATE)) / SAMPLE_RATE
    melody = np.array([0, 4, 7, 5, 4, 2, 0, 2])[(times / 1.024).astype(int) % 8]
    semitones = melody + (0.5 * np.sin(2 * np.pi * 5.5 * times) if vibrato else 0.0)
    frequency = 220.0 * 2.0 ** (semitones / 12)
    phase = 2 * np.pi * np.cumsum(frequency) / SAMPLE_RATE
    samples = np.sum([np.sin(h * phase) / h for h in range(1, 21)], axis=0) * 0.1
    if consonants:
        noise = np.random.default_rng(1).standard_normal(len(times) + 2)
        hiss = 0.02 * np.diff(noise, n=2)  # most of its power is above 5 kHz
        samples = np.where(times % 1.024 < 0.15, hiss, samples)
    return samples.astype(np.float32)
