"""Synthesize notes from formulas alone, without samples or soundfonts, so that the result is our
own.

Each instrument is the textbook model of what makes it sound like itself. Piano: stretched partials
of two strings slightly out of tune, dying in two stages, high ones first, after a hammer's
knock. Bass: a string plucked at a fifth of its length. Flute: few partials, vibrato that sets in
late, breath. Drums: swept sines and shaped noise. Every random number comes from a seed given by
the note, so that the same score always gives the same samples.
"""

from collections.abc import Callable

import numpy as np

from tests.demo.score import SECONDS_PER_BEAT, TOTAL_BEATS, Part, ScoreNote

SAMPLE_RATE = 44_100
_TAIL_SECONDS = 1.0
_NYQUIST_MARGIN = 0.45
Sound = np.ndarray


def render(parts: tuple[Part, ...]) -> Sound:
    """Render all parts to float32 stereo `[N, 2]` with a peak of 0.9."""
    total = int((TOTAL_BEATS * SECONDS_PER_BEAT + _TAIL_SECONDS) * SAMPLE_RATE)
    dry = np.zeros((total, 2))
    for part in parts:
        instrument, level, pan = _BAND[part.name]
        # Constant power: the two gains' squares add to one.
        gains = level * np.array([np.cos(pan * np.pi / 2), np.sin(pan * np.pi / 2)])
        for number, note in enumerate(part.notes):
            sound = instrument(note, np.random.default_rng([part.program, number]))
            first = round(note.start * SECONDS_PER_BEAT * SAMPLE_RATE)
            last = min(first + len(sound), total)
            dry[first:last] += sound[: last - first, None] * gains
    mixed = dry + 0.1 * _reverberate(dry)
    mixed *= np.minimum(1.0, np.linspace(total / SAMPLE_RATE / 0.4, 0.0, total))[:, None]
    return (0.9 * mixed / np.abs(mixed).max()).astype(np.float32)


def _piano(note: ScoreNote, random: np.random.Generator) -> Sound:
    length = note.length * SECONDS_PER_BEAT
    time = _times(length + 0.35)
    loudness = note.velocity / 127
    pitch_hz = _to_hz(note.pitch)
    stiffness = 2.5e-4 * 2 ** ((note.pitch - 60) / 14)
    sound = np.zeros_like(time)
    for n in range(1, 33):
        partial_hz = n * pitch_hz * np.sqrt(1 + stiffness * n * n)
        if partial_hz > _NYQUIST_MARGIN * SAMPLE_RATE:
            break
        # Struck at an eighth: the eighth partial is missing; a softer blow is a darker one.
        level = (0.4 + 0.6 * abs(np.sin(np.pi * n / 8.1))) * n**-1.15 * random.uniform(0.6, 1.4)
        level *= np.exp(-n * (0.26 - 0.16 * loudness))
        slow_seconds = 2.6 * 2 ** ((60 - note.pitch) / 18) / (1 + 0.16 * n)
        decay = 0.8 * np.exp(-time / (0.18 * slow_seconds)) + 0.2 * np.exp(-time / slow_seconds)
        for detune in (-0.0002, 0.0, 0.0003):
            phase = random.uniform(0, 2 * np.pi)
            sound += level * decay * np.sin(2 * np.pi * partial_hz * (1 + detune) * time + phase)
    knock = _noise(len(time), 150, 3_500, random) * np.exp(-time / 0.015)
    attack = 1 - np.exp(-time / 0.001)
    return loudness**1.3 * (sound * attack + 0.4 * knock) * _released(time, length, 0.07)


def _bass(note: ScoreNote, random: np.random.Generator) -> Sound:
    length = note.length * SECONDS_PER_BEAT
    time = _times(length + 0.15)
    pitch_hz = _to_hz(note.pitch)
    sound = np.zeros_like(time)
    for n in range(1, 25):
        # Plucked at a fifth of the string, heard by a pickup at an eighth.
        level = np.sin(np.pi * n / 5) * np.sin(np.pi * (n + 0.3) / 8) * n**-1.1 * np.exp(-n / 9)
        decay = np.exp(-time * (0.9 + 0.35 * n))
        sound += level * decay * np.sin(2 * np.pi * n * pitch_hz * (1 + 4e-5 * n * n) * time)
    finger = _noise(len(time), 400, 3_000, random) * np.exp(-time / 0.006)
    attack = 1 - np.exp(-time / 0.003)
    loudness = note.velocity / 127
    return loudness * (2.2 * sound * attack + 0.12 * finger) * _released(time, length, 0.03)


def _flute(note: ScoreNote, random: np.random.Generator) -> Sound:
    length = note.length * SECONDS_PER_BEAT
    time = _times(length + 0.12)
    vibrato_depth = 0.006 * np.clip((time - 0.2) / 0.4, 0, 1)
    vibrato = np.sin(2 * np.pi * 5.1 * time + random.uniform(0, 1))
    pitch_hz = _to_hz(note.pitch) * (1 + vibrato_depth * vibrato)
    phase = 2 * np.pi * np.cumsum(pitch_hz) / SAMPLE_RATE
    tremolo = 1 + 12 * vibrato_depth * vibrato
    levels = (1.0, 0.55, 0.28, 0.1, 0.05, 0.02)
    sound = sum(level * tremolo**n * np.sin(n * phase) for n, level in enumerate(levels, start=1))
    centre = _to_hz(note.pitch)
    breath = _noise(len(time), 0.8 * centre, 6 * centre, random)
    chiff = 0.05 + 0.15 * np.exp(-time / 0.03)
    attack = np.clip(time / 0.035, 0, 1) ** 1.5
    return note.velocity / 127 * (sound + chiff * breath) * attack * _released(time, length, 0.04)


def _drum(note: ScoreNote, random: np.random.Generator) -> Sound:
    loudness = (note.velocity / 127) ** 1.2
    match note.pitch:
        case 36:
            time = _times(0.4)
            phase = 2 * np.pi * (48 * time + 160 * 0.018 * (1 - np.exp(-time / 0.018)))
            beater = _noise(len(time), 300, 5_000, random) * np.exp(-time / 0.008)
            sound = 1.8 * np.sin(phase) * np.exp(-time / 0.09) + 0.5 * beater
        case 38:
            time = _times(0.35)
            skin = sum(np.sin(2 * np.pi * hz * time) for hz in (187, 331))
            wires = _noise(len(time), 1_500, 10_000, random) * np.exp(-time / 0.075)
            sound = 0.4 * skin * np.exp(-time / 0.045) + 0.85 * wires
        case 42:
            time = _times(0.12)
            sound = 0.34 * _metal(time, random) * np.exp(-time / 0.028)
        case 46:
            time = _times(0.7)
            sound = 0.3 * _metal(time, random) * np.exp(-time / 0.2)
        case _:
            time = _times(1.6)
            wash = _noise(len(time), 3_000, 14_000, random)
            sound = (0.4 * _metal(time, random) + 0.5 * wash) * np.exp(-time / 0.42)
    return loudness * sound


def _metal(time: Sound, random: np.random.Generator) -> Sound:
    """Synthesize a struck pair of cymbals: noise, brightest at the top, with a trace of ringing."""
    ringing = sum(
        np.sin(2 * np.pi * hz * time + 3 * np.sin(2 * np.pi * 1.47 * hz * time))
        for hz in (3_140, 4_370, 5_830)
    )
    hiss = _noise(len(time), 3_500, 9_000, random) + _noise(len(time), 6_000, 16_000, random)
    return 0.7 * hiss + 0.1 * ringing


def _reverberate(dry: Sound) -> Sound:
    """Return the reverberation of a small hall: decaying noise, different in each channel, the low
    part longer."""
    random = np.random.default_rng(2026)
    time = _times(1.1)
    wet = np.zeros_like(dry)
    for ear in range(2):
        noise = random.standard_normal(len(time))
        hall = _band(noise, 150, 2_500) * np.exp(-time / 0.3)
        hall += _band(noise, 2_500, 9_000) * np.exp(-time / 0.16)
        hall[: int(0.012 * SAMPLE_RATE)] = 0
        hall /= np.sqrt((hall**2).sum())
        size = len(dry) + len(hall)
        spectrum = np.fft.rfft(dry[:, ear], size) * np.fft.rfft(hall, size)
        wet[:, ear] = np.fft.irfft(spectrum, size)[: len(dry)]
    return 2.5 * wet


def _noise(samples: int, low_hz: float, high_hz: float, random: np.random.Generator) -> Sound:
    """Return white noise of one band, at unit power."""
    noise = _band(random.standard_normal(samples), low_hz, high_hz)
    return noise / np.sqrt((noise**2).mean())


def _band(sound: Sound, low_hz: float, high_hz: float) -> Sound:
    """Filter a band, with slopes of an octave."""
    hz = np.fft.rfftfreq(len(sound), 1 / SAMPLE_RATE)
    gain = np.clip(2 * hz / low_hz - 1, 0, 1) * np.clip(2 - hz / high_hz, 0, 1)
    return np.fft.irfft(np.fft.rfft(sound) * gain, len(sound))


def _released(time: Sound, length: float, fade_seconds: float) -> Sound:
    """Return an envelope that is 1 while the note is held, and decays after it."""
    return np.exp(-np.clip(time - length, 0, None) / fade_seconds)


def _times(seconds: float) -> Sound:
    return np.arange(int(seconds * SAMPLE_RATE)) / SAMPLE_RATE


def _to_hz(pitch: int) -> float:
    return 440.0 * 2 ** ((pitch - 69) / 12)


_BAND: dict[str, tuple[Callable[[ScoreNote, np.random.Generator], Sound], float, float]] = {
    # Instrument, level, and place from left (0) to right (1).
    "Piano": (_piano, 0.62, 0.4),
    "Bass": (_bass, 0.75, 0.5),
    "Flute": (_flute, 0.28, 0.62),
    "Drums": (_drum, 0.36, 0.5),
}
