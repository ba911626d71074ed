"""Notes and the recording's sound -> notes with velocities.

The checkpoint `mt3` does not model dynamics: it writes velocity 127 for every note. Here a note's
velocity follows its level in the recording relative to the other notes. The level of an instrument
in the mix is not its dynamics, but the instrument's name is often wrong; so the reference is
half-way between the median of its program and that of all notes. Velocities are compressed to 50 to
110 around 80: within that range, a wrong estimate is heard as a nuance, not as a gap.
"""

import functools
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float64
from msgspec import structs

from mt3_model.notes.general_midi import DRUM_GROUPS
from mt3_model.notes.note import Note
from mt3_model.postprocessing.band_levels import BandLevels
from mt3_model.postprocessing.note_levels import measure_note_levels
from mt3_model.postprocessing.sound import RecordingSound

MEDIAN_VELOCITY = 80
"""Near mezzo-forte. The medians of performed MIDI files are 70 to 90."""
VELOCITY_RANGE = 30
"""Maximum difference of a velocity from the median."""
_VELOCITY_PER_DB = 1.5
"""Synthesizers have about 40 log10(velocity / 127) dB (General MIDI Level 2, DLS), which is 4.6 per
dB at 80. Estimates scatter by 9 dB, several times as much as players do, so a third of that slope
is used."""
_TYPICAL_NOTES = 8
"""Number of a program's notes at which its median is half from its own notes, half from all."""
_ATTACK_SECONDS = 0.06
_GROUP_BANDS = {
    "kick": (0, 1), "snare": (1, 2, 3), "hat": (4,), "tom": (0, 1, 2), "cymbal": (3, 4)
}  # fmt: skip
_DRUM_BANDS = {key: _GROUP_BANDS[group] for group, keys in DRUM_GROUPS.items() for key in keys}
"""The bands of each percussion key of a drum kit; other keys use all."""
_ALL_BANDS = (0, 1, 2, 3, 4)


def estimate_velocities(
    notes: Sequence[Note], sound: RecordingSound, *, start: float = 0.0
) -> tuple[Note, ...]:
    """Replace the velocities of all notes, pitched and drums.

    Args:
        notes: notes of the whole recording.
        sound: the recording.
        start: time of the sound's first sample on the notes' clock, seconds.
    """
    is_drum = np.array([note.is_drum for note in notes], bool)
    relative = np.zeros(len(notes))
    pitched = [note for note in notes if not note.is_drum]
    drums = [note for note in notes if note.is_drum]
    relative[~is_drum] = _relative_to_parts(
        measure_note_levels(pitched, sound.low_band, start=start),
        np.array([note.program for note in pitched], int),
    )
    relative[is_drum] = _relative_to_keys(
        _measure_strokes(drums, sound.band_levels, start),
        np.array([note.pitch for note in drums], int),
    )
    velocities = _to_velocities(relative)
    return tuple(
        structs.replace(note, velocity=int(velocity))
        for note, velocity in zip(notes, velocities, strict=True)
    )


def _measure_strokes(
    drums: Sequence[Note], sound: BandLevels, start: float
) -> Float64[np.ndarray, " N"]:
    """Return the greatest level in the bands of each drum within 60 ms, dB; NaN outside."""
    powers = 10.0 ** (sound.values().astype(np.float64) / 10.0)
    length = round(_ATTACK_SECONDS * sound.levels_per_second)
    starts = np.array([note.start_time for note in drums]) - start
    first = (starts * sound.levels_per_second).astype(int)
    frames = first[:, None] + np.arange(length)
    is_inside = (first >= 0) & (first < len(powers))
    bands = np.array([_uses_bands(note.pitch) for note in drums], bool)
    bands = bands.reshape(-1, 1, len(_ALL_BANDS))
    levels = np.full(len(drums), np.nan)
    attacks = powers[np.minimum(frames[is_inside], len(powers) - 1)]  # [N, T, 5]
    loudest = (attacks * bands[is_inside]).sum(axis=2).max(axis=1)
    levels[is_inside] = 10.0 * np.log10(loudest)
    return levels


@functools.cache
def _uses_bands(key: int) -> tuple[bool, ...]:
    """Return which bands measure a percussion key."""
    bands = _DRUM_BANDS.get(key, _ALL_BANDS)
    return tuple(band in bands for band in _ALL_BANDS)


def _relative_to_parts(
    levels: Float64[np.ndarray, " N"], programs: np.ndarray
) -> Float64[np.ndarray, " N"]:
    """Subtract the mean of two medians: of the note's program, and of all notes."""
    relative = np.zeros(len(levels))
    is_known = ~np.isnan(levels)
    if not is_known.any():
        return relative
    overall = np.median(levels[is_known])
    for program in np.unique(programs[is_known]):
        members = is_known & (programs == program)
        weight = members.sum() / (members.sum() + _TYPICAL_NOTES)
        own = weight * np.median(levels[members]) + (1.0 - weight) * overall
        relative[members] = levels[members] - (own + overall) / 2.0
    return relative


def _relative_to_keys(
    levels: Float64[np.ndarray, " N"], keys: np.ndarray
) -> Float64[np.ndarray, " N"]:
    """Subtract the median of the percussion key: each is an instrument of its own."""
    relative = np.zeros(len(levels))
    for key in np.unique(keys):
        members = (keys == key) & ~np.isnan(levels)
        if members.any():
            relative[members] = levels[members] - np.median(levels[members])
    return relative


def _to_velocities(decibels: Float64[np.ndarray, " N"]) -> Float64[np.ndarray, " N"]:
    """Return ``80 + 30 tanh(1.5 dB / 30)``, rounded: monotone, from 50 to 110."""
    scaled = np.tanh(_VELOCITY_PER_DB * decibels / VELOCITY_RANGE)
    return np.rint(MEDIAN_VELOCITY + VELOCITY_RANGE * scaled)
