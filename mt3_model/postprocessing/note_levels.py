"""Pitched notes and the recording's low band -> how loud each note is at its start.

Non-negative matrix factorization with known notes: the magnitude spectrum is explained by one
harmonic template per pitch, which may sound only inside that pitch's notes, and by one flat
template for everything else. Notes that share partials then share their energy, which the plain
level of a note's partials would count twice.
Sources: Lee and Seung, "Algorithms for non-negative matrix factorization", NIPS 2000 (the updates
for the Kullback-Leibler divergence); Ewert and Müller, "Estimating note intensities in music
recordings", ICASSP 2011 (known notes as activations that start non-zero).
"""

import functools
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float32, Float64
from threadpoolctl import threadpool_limits

from mt3_model.notes.note import Note
from mt3_model.notes.pitch import pitches_to_hz
from mt3_model.postprocessing.blocks import map_blocks
from mt3_model.postprocessing.low_band import LowBand

_BLOCK_SECONDS = 30.0
"""Length factored at once, so that memory does not grow with the recording. Templates are
normalized, so levels of different blocks are comparable."""
_CONTEXT_SECONDS = 1.0
"""Length before and after a block that is factored with it."""
_WINDOW_SECONDS, _HOP_SECONDS = 0.128, 0.04
_PARTIALS = 20
_ITERATIONS = 8
_FIXED_ITERATIONS = 2
"""First iterations, in which the templates stay as they are until the activations have settled."""
_RELEASE_SECONDS = 0.04
"""Time that a note may sound longer than transcribed."""
_ATTACK_SECONDS = 0.3
"""Length of the note's start in which its loudest moment is searched: enough for the slow attacks
of strings and winds."""
_FLOOR = 1e-6


def measure_note_levels(
    notes: Sequence[Note], sound: LowBand, *, start: float = 0.0
) -> Float64[np.ndarray, " N"]:
    """Return each note's greatest level in its first 0.3 s, in dB.

    Args:
        notes: pitched notes of the whole recording.
        sound: the recording.
        start: time of the sound's first sample on the notes' clock, seconds.

    Returns:
        Levels; NaN for a note above the low band or outside the sound.
    """
    # The products are so small that a second BLAS thread only spins, at 6 times the processor time.
    with threadpool_limits(limits=1, user_api="blas"):
        return _measure_levels(notes, sound, start)


def _measure_levels(
    notes: Sequence[Note], sound: LowBand, start: float
) -> Float64[np.ndarray, " N"]:
    levels = np.full(len(notes), np.nan)
    samples = sound.values()
    starts = np.array([note.start_time - start for note in notes])
    ends = np.array([note.end_time - start for note in notes])
    pitches = np.array([note.pitch for note in notes], int)
    audible = pitches_to_hz(pitches) < sound.sample_rate / 2
    blocks = np.floor(starts / _BLOCK_SECONDS).astype(int)

    def measure(block: int) -> None:
        begin = max(block * _BLOCK_SECONDS - _CONTEXT_SECONDS, 0.0)
        end = (block + 1) * _BLOCK_SECONDS + _CONTEXT_SECONDS
        first, last = round(begin * sound.sample_rate), round(end * sound.sample_rate)
        spectra = _spectra(samples[first:last], sound.sample_rate)
        if not len(spectra):
            return
        inside = np.flatnonzero(audible & (ends > begin) & (starts < end))
        found = _factor(
            spectra, starts[inside] - begin, ends[inside] - begin, pitches[inside],
            sound.sample_rate,
        )  # fmt: skip
        of_block = blocks[inside] == block
        levels[inside[of_block]] = found[of_block]

    map_blocks(measure, np.unique(blocks[audible & (starts >= 0)]).tolist())
    return levels


def _spectra(samples: np.ndarray, sample_rate: float) -> Float32[np.ndarray, "T F"]:
    """Return magnitudes; frame t is centered on t · 40 ms."""
    size, hop = _sizes(sample_rate)
    count = -(-len(samples) // hop)
    padded = np.zeros(size + count * hop, np.float32)
    padded[size // 2 : size // 2 + len(samples)] = samples
    windows = np.lib.stride_tricks.sliding_window_view(padded, size)[: count * hop : hop]
    spectra = np.abs(np.fft.rfft(windows * np.hanning(size).astype(np.float32), axis=1))
    return spectra.astype(np.float32) / np.float32(np.iinfo(np.int16).max) + np.float32(_FLOOR)


def _factor(
    spectra: Float32[np.ndarray, "T F"],
    starts: np.ndarray,
    ends: np.ndarray,
    pitches: np.ndarray,
    sample_rate: float,
) -> Float64[np.ndarray, " N"]:
    """Return the levels in dB of notes whose times count from the first frame."""
    count = len(spectra)
    first = np.clip((starts / _HOP_SECONDS).astype(int) - 1, 0, count - 1)
    last = ((np.maximum(ends, starts) + _RELEASE_SECONDS) / _HOP_SECONDS).astype(int) + 2
    sounding = np.unique(pitches)
    rows = np.searchsorted(sounding, pitches)
    templates = np.stack(
        [*(_template(int(pitch), sample_rate) for pitch in sounding), _flat(sample_rate)]
    )  # [K + 1, F]
    activations = np.zeros((count, len(templates)), np.float32)
    for row, begin, end in zip(rows, first, last, strict=True):
        activations[begin:end, row] = 1.0
    activations[:, -1] = 0.2
    activations *= (spectra.sum(axis=1) / activations.sum(axis=1))[:, None]
    for iteration in range(_ITERATIONS):
        # The templates sum to 1, which leaves no denominator in the activations' update.
        activations *= (spectra / (activations @ templates + np.float32(1e-9))) @ templates.T
        if iteration >= _FIXED_ITERATIONS:
            ratio = spectra / (activations @ templates + np.float32(1e-9))
            templates *= activations.T @ ratio
            templates /= templates.sum(axis=1, keepdims=True) + np.float32(1e-12)
    seconds = np.clip(ends - starts, 2 * _HOP_SECONDS, _ATTACK_SECONDS)
    begins = (np.maximum(starts, 0.0) / _HOP_SECONDS).astype(int)
    lengths = (seconds / _HOP_SECONDS).astype(int) + 1
    steps = np.minimum(np.arange(lengths.max(initial=0)), lengths[:, None] - 1)
    frames = np.minimum(begins[:, None] + steps, count - 1)  # [N, T], the last ones repeated
    heights = activations[frames, rows[:, None]].max(axis=1, initial=0.0).astype(np.float64)
    heights[begins >= count] = np.nan
    return 20.0 * np.log10(heights + _FLOOR)


@functools.cache
def _sizes(sample_rate: float) -> tuple[int, int]:
    """Return the window and the hop in samples."""
    return round(_WINDOW_SECONDS * sample_rate), round(_HOP_SECONDS * sample_rate)


@functools.cache
def _template(pitch: int, sample_rate: float) -> Float32[np.ndarray, " F"]:
    """Return partials of strength 1/h, each as wide as the window's main lobe; they sum to 1."""
    size, _ = _sizes(sample_rate)
    bins = np.arange(size // 2 + 1)
    template = np.zeros(len(bins))
    for partial in range(1, _PARTIALS + 1):
        center = pitches_to_hz(np.array(pitch)) * partial * size / sample_rate
        distance = np.abs(bins - center)
        template += np.where(distance < 2.0, np.cos(np.pi * distance / 4.0) ** 2, 0.0) / partial  # noqa: PLR2004
    return (template / template.sum()).astype(np.float32)


def _flat(sample_rate: float) -> Float32[np.ndarray, " F"]:
    size, _ = _sizes(sample_rate)
    bins = size // 2 + 1
    return np.full(bins, 1.0 / bins, np.float32)
