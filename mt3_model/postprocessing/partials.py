"""Notes and the recording's low band -> how strong a note's partials and subharmonics are.

A note of frequency f that truly sounds an octave lower has partials at f/2, f, 3f/2, ...: there is
energy at f/2 and 3f/2, which a note of frequency f cannot have. Where another transcribed note has
a partial there, the energy is no evidence, and the note counts as explained.
"""

import dataclasses
import functools
from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float32, Float64, Int

from mt3_model.notes.note import Note
from mt3_model.notes.pitch import pitches_to_hz
from mt3_model.postprocessing.blocks import map_blocks
from mt3_model.postprocessing.low_band import LowBand

_WINDOW_SECONDS = 0.256
"""Longest stretch analyzed: resolves partials 8 Hz apart, and E1 (41 Hz) from its octave."""
_ATTACK_SECONDS = 0.03
"""Time skipped after the onset, because the attack is noise."""
_MIN_SECONDS = 0.1
"""Shortest stretch analyzed, even of a shorter note."""
_FFT_SIZE = 2_048
_BLOCK_NOTES = 512
"""Notes of a block; bounds memory on long recordings."""
_HALF_WIDTH = 0.018
"""Search range around a partial, as a share of its frequency: 31 cents."""
_FLOOR = 1e-9
_SILENT_DB = -180.0
"""The level of the floor."""
_FRAME_SECONDS = 0.05
_SEMITONES, _PITCHES = 12, 128
_PARTIAL_OFFSETS = np.rint(_SEMITONES * np.log2(np.arange(1, 9))).astype(int)
"""Semitones from a note up to its first eight partials, rounded."""
_FIFTH = 7
"""Semitones from f to 3f/2."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class PartialLevels:
    """Levels in dB at multiples of each note's frequency f.

    Above the low band nothing is known: `fundamental` is +inf there, far above any other level,
    3f/2 counts as explained, and the others are silent.
    """

    fundamental: Float32[np.ndarray, " N"]
    """At f."""
    half: Float32[np.ndarray, " N"]
    """At f/2."""
    three_halves: Float32[np.ndarray, " N"]
    """At 3f/2."""
    quarter: Float32[np.ndarray, " N"]
    """At f/4."""
    three_quarters: Float32[np.ndarray, " N"]
    """At 3f/4: empty for a note of f or of f/2."""
    three_eighths: Float32[np.ndarray, " N"]
    """At 3f/8: empty for a note of f, f/2 or f/4."""
    is_half_explained: Bool[np.ndarray, " N"]
    """Whether a partial of another transcribed note lies at f/2."""
    is_three_halves_explained: Bool[np.ndarray, " N"]
    """The same at 3f/2."""


def measure_partials(notes: Sequence[Note], sound: LowBand, *, start: float = 0.0) -> PartialLevels:
    """Measure the spectrum at the start of each note.

    Args:
        notes: pitched notes; all of them together explain partials.
        sound: the recording.
        start: time of the sound's first sample on the notes' clock, seconds.
    """
    frequencies = pitches_to_hz(np.array([note.pitch for note in notes], int))
    factors = np.array([0.25, 0.375, 0.5, 0.75, 1.0, 1.5])
    samples = sound.values()

    def measure(first: int) -> Float32[np.ndarray, "N K"]:
        block = slice(first, first + _BLOCK_NOTES)
        multiples = frequencies[block, None] * factors
        return _levels(notes[block], multiples, samples, sound.sample_rate, start)

    blocks = map_blocks(measure, range(0, len(notes), _BLOCK_NOTES))
    levels = np.concatenate([np.zeros((0, len(factors)), np.float32), *blocks])
    is_above = np.isneginf(levels)
    levels[is_above] = _SILENT_DB
    half, three_halves = _explained(notes)
    return PartialLevels(
        fundamental=np.where(is_above[:, 4], np.float32(np.inf), levels[:, 4]),
        half=levels[:, 2],
        three_halves=levels[:, 5],
        quarter=levels[:, 0],
        three_quarters=levels[:, 3],
        three_eighths=levels[:, 1],
        is_half_explained=half,
        is_three_halves_explained=three_halves | is_above[:, 5],
    )


def _levels(
    notes: Sequence[Note],
    frequencies: Float64[np.ndarray, "N K"],
    samples: np.ndarray,
    sample_rate: float,
    start: float,
) -> Float32[np.ndarray, "N K"]:
    """Return the highest level near each frequency, dB."""
    size = round(_WINDOW_SECONDS * sample_rate)
    windows = np.zeros((len(notes), size), np.float32)
    resolutions = np.ones(len(notes))
    for row, note in enumerate(notes):
        begin = max(note.start_time - start + _ATTACK_SECONDS, 0.0)
        length = max(note.end_time - start - begin, _MIN_SECONDS)
        first = round(begin * sample_rate)
        taken = samples[first : first + min(round(length * sample_rate), size)]
        windows[row, : len(taken)] = taken * _hann(len(taken))
        resolutions[row] = sample_rate / max(len(taken), round(_MIN_SECONDS * sample_rate))
    spectra: Float32[np.ndarray, "N B"] = np.abs(np.fft.rfft(windows, _FFT_SIZE))
    hz_per_bin = sample_rate / _FFT_SIZE
    # Half the main lobe's width at least, so that a short note's blurred partial is found.
    widths = np.maximum(frequencies * _HALF_WIDTH, 0.6 * resolutions[:, None]) / hz_per_bin
    centers = frequencies / hz_per_bin
    lowest = np.maximum(np.rint(centers - widths), 1).astype(int)
    highest = np.rint(centers + widths).astype(int)
    bins = spectra.shape[1]
    # Pairs (first, last + 1) into the spectra laid end to end; of `reduceat`'s results every other
    # one is a range, the rest lie between ranges.
    rows = np.arange(len(notes))[:, None] * bins
    borders = np.stack([np.minimum(lowest, bins - 1), np.minimum(highest, bins - 1) + 1], axis=2)
    flat = np.append(spectra.ravel(), np.float32(0.0))
    peaks = np.maximum.reduceat(flat, (rows[:, :, None] + borders).ravel())[::2]
    peaks = peaks.reshape(frequencies.shape)
    levels = np.float32(20.0) * np.log10(peaks + np.float32(_FLOOR))
    return np.where(highest < bins, levels, np.float32(-np.inf))


@functools.cache
def _hann(length: int) -> Float32[np.ndarray, " M"]:
    return np.hanning(length).astype(np.float32)


def _explained(
    notes: Sequence[Note],
) -> tuple[Bool[np.ndarray, " N"], Bool[np.ndarray, " N"]]:
    """Return, per note, whether other notes have a partial at half and at 3/2 its frequency."""
    frames = _frames([note.start_time for note in notes])
    ends = _frames([note.end_time for note in notes])
    # One frame more, since a note is probed just after its onset, and a margin of pitches below 0.
    margin = int(_PARTIAL_OFFSETS[-1]) + _SEMITONES
    pitches = np.array([note.pitch for note in notes], int) + margin
    roll = np.zeros((ends.max(initial=0) + 3, margin + _PITCHES + _FIFTH), bool)
    for pitch, first, last in zip(pitches, frames, ends, strict=True):
        roll[first : last + 1, pitch] = True
    probes = frames + 1

    def explained(target: int) -> Bool[np.ndarray, " N"]:
        places = pitches[:, None] + target - _PARTIAL_OFFSETS
        return np.any(roll[probes[:, None], places], axis=1)

    return explained(-_SEMITONES), explained(_FIFTH)


def _frames(seconds: Sequence[float]) -> Int[np.ndarray, " N"]:
    return (np.maximum(seconds, 0.0) / _FRAME_SECONDS).astype(int)
