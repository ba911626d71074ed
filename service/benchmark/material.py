"""Prepare the recordings to measure with: files of the user, or a synthesized piece.

All are converted to 44.1 kHz mono FLAC of one length, so that figures of different machines
compare. The service then reads, resamples and segments them like any upload.

The piece is computed from formulas, so that `mt3 benchmark` needs no file and uses the same samples
everywhere: four bars of chords, bass, melody and drums at 120 beats a minute, struck strings as
decaying harmonics, drums as noise and a falling tone. It must give the model about as much to write
as a song does: the published mt3 checkpoint writes 90 tokens a segment for
its first ten seconds, and 131 for the dense song of the root's README.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import soundfile
from numpy.typing import NDArray

from mt3_model.audio.isolation import open_recording
from mt3_model.audio.recording import ReadingLimits
from mt3_model.errors import AudioError

SAMPLE_RATE = 44_100
"""Hz: the usual rate of published music, so that resampling is measured too."""
SYNTHETIC = "synthesized piece"
_BEAT_SECONDS = 0.5
_BAR_BEATS = 4
_CHORDS = ((57, 60, 64), (53, 57, 60), (48, 55, 64), (55, 59, 62))
"""MIDI pitches of A minor, F, C, G: one bar each."""
_MELODY = (69, 72, 76, 74, 72, 69, 77, 76, 72, 67, 76, 79, 74, 71, 74, 79)
"""MIDI pitches, one a beat."""
_HARMONICS = 12
_PEAK = 0.8
Samples = NDArray[np.float32]


def write_material(
    recordings: Sequence[Path], seconds: float, folder: Path, limits: ReadingLimits
) -> list[Path]:
    """Write the recordings that the callers send.

    Args:
        recordings: audio files, read as far as needed; if empty, the synthesized piece is used.
        seconds: length of every file: longer recordings are cut, shorter ones repeated.
        folder: destination of the files.
        limits: limits on reading.

    Returns:
        One FLAC file per recording.

    Raises:
        AudioError: a recording cannot be read; the message names it.
    """
    wanted = max(round(seconds * SAMPLE_RATE), 1)
    sounds = [read_sound(path, wanted, limits) for path in recordings] or [synthesize()]
    files: list[Path] = []
    for number, sound in enumerate(sounds):
        files.append(folder / f"{number}.flac")
        soundfile.write(files[-1], np.resize(sound, wanted), SAMPLE_RATE, subtype="PCM_16")
    return files


def read_sound(path: Path, wanted: int, limits: ReadingLimits) -> Samples:
    """Read a recording's first ``wanted`` samples, or all if it has fewer."""
    blocks: list[Samples] = []
    try:
        with open_recording(path, sample_rate=SAMPLE_RATE, limits=limits) as recording:
            for block in recording.blocks():
                blocks.append(block)
                wanted -= len(block)
                if wanted <= 0:
                    break
    except AudioError as error:
        raise type(error)(f"{path}: {error}") from error
    return np.concatenate(blocks)


def synthesize() -> Samples:
    """Synthesize the piece: 8 s, repeatable without a gap, float32 mono in [-0.8, 0.8]."""
    bars = len(_CHORDS)
    total = round(bars * _BAR_BEATS * _BEAT_SECONDS * SAMPLE_RATE)
    mix = np.zeros(total)

    def add(beat: float, sound: NDArray[np.float64]) -> None:
        first = round(beat * _BEAT_SECONDS * SAMPLE_RATE)
        places = (
            np.arange(first, first + len(sound)) % total
        )  # decay past the end wraps to the front
        mix[places] += sound

    for bar, chord in enumerate(_CHORDS):
        start = bar * _BAR_BEATS
        for beat in range(_BAR_BEATS):
            add(start + beat, _string(_MELODY[start + beat], seconds=0.9, level=0.5))
            add(start + beat, _string(chord[0] - 12, seconds=0.5, level=0.8))
            add(start + beat, _kick() if beat % 2 == 0 else _noise(0.25, decay=0.06, level=0.6))
            for half in (0.0, 0.5):
                add(start + beat + half, _noise(0.08, decay=0.015, level=0.2))
                pitch = chord[(2 * beat + round(2 * half)) % len(chord)]
                add(start + beat + half, _string(pitch, seconds=0.6, level=0.4))
    return (_PEAK * mix / np.abs(mix).max()).astype(np.float32)


def _string(pitch: int, *, seconds: float, level: float) -> NDArray[np.float64]:
    """Synthesize a struck string: harmonics at 1/n, higher ones decaying faster."""
    times = _times(seconds)
    hertz = 440.0 * 2 ** ((pitch - 69) / 12)
    sound = np.zeros_like(times)
    for n in range(1, _HARMONICS + 1):
        if n * hertz < SAMPLE_RATE / 2:
            sound += np.exp(-times * (3 + n)) * np.sin(2 * np.pi * n * hertz * times) / n
    return level * sound * _edges(times, seconds)


def _kick() -> NDArray[np.float64]:
    """Synthesize a bass drum: a tone that falls from 200 to 50 Hz."""
    times = _times(0.3)
    phase = 2 * np.pi * (50 * times - 150 * 0.02 * np.expm1(-times / 0.02))
    return np.sin(phase) * np.exp(-times / 0.08) * _edges(times, 0.3)


def _noise(seconds: float, *, decay: float, level: float) -> NDArray[np.float64]:
    """Synthesize a snare or a cymbal: a burst of noise, the same at every stroke."""
    times = _times(seconds)
    noise = np.random.default_rng(0).standard_normal(len(times))
    return level * noise * np.exp(-times / decay)


def _edges(times: NDArray[np.float64], seconds: float) -> NDArray[np.float64]:
    """Return an envelope that fades in over 2 ms and out over 20 ms, to avoid clicks."""
    return np.clip(times / 0.002, 0, 1) * np.clip((seconds - times) / 0.02, 0, 1)


def _times(seconds: float) -> NDArray[np.float64]:
    return np.arange(round(seconds * SAMPLE_RATE)) / SAMPLE_RATE
