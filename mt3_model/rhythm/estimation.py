"""The notes of a recording -> its `MusicalTime`, estimated, or as specified by the caller.

    onset_strength.py   notes      -> onset strength, 100 frames per second
    tempo.py            strength   -> the beats at the right metrical level
    beat_tracking.py    strength   -> the beats near one tempo
    phase.py            beats      -> the same, or those halfway between
    bars.py             beats      -> beats per bar and the first downbeat
    pauses.py           beats      -> as many beats in pauses as suit the bars around them
    key.py              notes      -> the key signature

It runs once, after the clean-up, and never changes a note.
"""

import dataclasses

import numpy as np

from mt3_model.notes.musical_time import MusicalTime, TimeSignature
from mt3_model.notes.note import NoteSequence
from mt3_model.notes.rhythm_options import KnownRhythm, parse_quantize, read_known_rhythm
from mt3_model.notes.transcription import Transcription, TranscriptionOptions
from mt3_model.rhythm.bars import Meter, find_meter
from mt3_model.rhythm.beat_tracking import track_beats
from mt3_model.rhythm.key import find_key
from mt3_model.rhythm.onset_strength import (
    FRAMES_PER_SECOND,
    NoteArrays,
    measure_onset_strength,
)
from mt3_model.rhythm.pauses import fit_pauses
from mt3_model.rhythm.phase import settle_phase
from mt3_model.rhythm.tempo import find_beats
from mt3_model.rhythm.warnings import (
    RHYTHM_WARNINGS,
    is_near_notes,
    warn_of_doubt,
    warn_of_unused,
)

MIN_ONSETS = 8
"""Onsets below which no tempo is estimated."""
MIN_SECONDS = 2.0
"""Seconds between the first and the last onset below which no tempo is estimated."""
_MARGIN_SECONDS = 1.0
_NAMED_STEPS = 5
"""Steps of 2.5 % by which the tempo may differ from one that the caller named: 13 %."""
_SMOOTHED_BEATS = 2
"""Beats on each side that a beat is smoothed with."""
_EDGE_BEATS = 8
"""Number of beats at each end whose mean length gives the tempo outside."""
_ON_BEAT = 0.15
"""Beats by which a downbeat that the caller names may differ from a beat."""
_FIRST_ONSET_REACH = 0.15
"""Beats by which the first beat is moved ahead to the first onset rather than a beat added."""


def check_rhythm_options(options: TranscriptionOptions) -> None:
    """Check the options of tempo, bars and quantization before any work is done.

    Raises:
        OptionError: an option has no valid value.
    """
    read_known_rhythm(options.tempo, options.time_signature, options.first_downbeat)
    parse_quantize(options.quantize)


def add_musical_time(transcription: Transcription) -> Transcription:
    """Estimate beats, bars and key, and warn where they are uncertain.

    Warnings of an earlier estimate are replaced.

    Raises:
        OptionError: an option of tempo or bars has no valid value.
    """
    options = transcription.options
    known = read_known_rhythm(options.tempo, options.time_signature, options.first_downbeat)
    time = estimate_musical_time(transcription.notes, known)
    return dataclasses.replace(
        transcription,
        musical_time=time,
        warnings=(
            *(each for each in transcription.warnings if each.code not in RHYTHM_WARNINGS),
            *warn_of_unused(transcription, time),
            *warn_of_doubt(time),
        ),
    )


def estimate_musical_time(
    notes: NoteSequence, known: KnownRhythm | None = None
) -> MusicalTime | None:
    """Estimate the beats, bars and key of one recording.

    Args:
        notes: its notes, in any order.
        known: the tempo and bars that the caller specified. A first downbeat that is not near the
            notes is not used.

    Returns:
        None if there are too few onsets for a tempo and the caller names none.
    """
    known = known or KnownRhythm()
    named = isinstance(known.tempo, float)
    arrays = NoteArrays.from_notes(notes.notes)
    onsets = np.unique(arrays.onsets)
    if len(onsets) == 0:
        return None
    if not named and (len(onsets) < MIN_ONSETS or np.ptp(onsets) < MIN_SECONDS):
        return None
    if known.first_downbeat is not None and not is_near_notes(notes, known.first_downbeat):
        known = dataclasses.replace(known, first_downbeat=None)
    found = _track(arrays, known)
    if found is None:
        return None
    beats, tempo_confidence = found
    if known.first_downbeat is not None:
        beats = _shift(beats, known.first_downbeat)
    beats = _cover(beats, float(onsets[0]), float(arrays.offsets.max()))
    meter = find_meter(arrays, beats, known.time_signature)
    if known.first_downbeat is None:
        beats, meter = _begin_bars_after_pauses(arrays, beats, meter, known)
    if known.first_downbeat is not None:
        downbeat = _count_beats(beats, known.first_downbeat)
        meter = dataclasses.replace(meter, first_downbeat=downbeat % meter.beats_per_bar)
    return MusicalTime(
        beat_times=tuple(round(float(beat), 6) for beat in beats),
        time_signature=known.time_signature or _time_signature(meter),
        first_downbeat=meter.first_downbeat,
        key=find_key(arrays),
        tempo_confidence=1.0 if named else tempo_confidence,
        meter_confidence=(
            1.0
            if known.time_signature is not None and known.first_downbeat is not None
            else meter.probability
        ),
    )


def _begin_bars_after_pauses(
    notes: NoteArrays, beats: np.ndarray, meter: Meter, known: KnownRhythm
) -> tuple[np.ndarray, Meter]:
    """Choose the number of beats in pauses; keep the old one if the meter would change."""
    fitted = fit_pauses(notes, beats, known.time_signature or _time_signature(meter))
    if fitted is beats:
        return beats, meter
    again = find_meter(notes, fitted, known.time_signature)
    return (fitted, again) if again.beats_per_bar == meter.beats_per_bar else (beats, meter)


def _track(notes: NoteArrays, known: KnownRhythm) -> tuple[np.ndarray, float] | None:
    """Return the times of the beats in seconds, and the confidence in their tempo."""
    first = float(notes.onsets[0])
    if isinstance(known.tempo, float) and len(np.unique(notes.onsets)) < MIN_ONSETS:
        return first + np.array([0.0, 60.0 / known.tempo]), 1.0
    start = first - _MARGIN_SECONDS
    frames = round((float(notes.offsets.max()) + _MARGIN_SECONDS - start) * FRAMES_PER_SECOND)
    strength = measure_onset_strength(notes, frames, start)
    if isinstance(known.tempo, float):
        period = 60.0 * FRAMES_PER_SECOND / known.tempo
        beats, confidence = track_beats(strength, [period], steps=_NAMED_STEPS)[0], 1.0
    else:
        best = find_beats(notes, strength, start, known.time_signature)
        if best is None:
            return None
        beats, confidence = best.beats, best.probability
        if known.tempo is not None:
            period = float(np.median(np.diff(beats))) * (2.0 if known.tempo == "half" else 0.5)
            beats, confidence = track_beats(strength, [period])[0], 1.0
    if len(beats) < 3:  # noqa: PLR2004
        return None
    seconds = start + _smooth(beats) / FRAMES_PER_SECOND
    return settle_phase(notes, seconds), confidence


def _smooth(beats: np.ndarray) -> np.ndarray:
    """Average each beat with its neighbors, moving it by at most one frame, the resolution."""
    reach = min(_SMOOTHED_BEATS, (len(beats) - 1) // 2)
    if reach == 0:
        return beats.astype(np.float64)
    before = 2.0 * beats[0] - beats[reach:0:-1]
    after = 2.0 * beats[-1] - beats[-2 : -2 - reach : -1]
    padded = np.concatenate((before, beats, after))
    width = 2 * reach + 1
    smooth = np.convolve(padded, np.ones(width) / width, mode="valid")
    return beats + np.clip(smooth - beats, -1.0, 1.0)


def _shift(beats: np.ndarray, downbeat: float) -> np.ndarray:
    """Move all beats if the caller's downbeat lies between two of them."""
    offset = downbeat - float(beats[np.abs(beats - downbeat).argmin()])
    interval = float(np.median(np.diff(beats)))
    return beats + offset if _ON_BEAT * interval < abs(offset) <= interval / 2 else beats


def _count_beats(beats: np.ndarray, seconds: float) -> int:
    """Return the index of the beat nearest to a time; outside them, at an even tempo."""
    edge = min(_EDGE_BEATS, len(beats) - 1)
    if seconds < beats[0]:
        return round((seconds - beats[0]) / (beats[edge] - beats[0]) * edge)
    if seconds > beats[-1]:
        after = (seconds - beats[-1]) / (beats[-1] - beats[-1 - edge]) * edge
        return len(beats) - 1 + round(after)
    return int(np.abs(beats - seconds).argmin())


def _cover(beats: np.ndarray, first_onset: float, last_offset: float) -> np.ndarray:
    """Drop beats outside the notes, and add those that are missing at both ends."""
    first = max(int(np.searchsorted(beats, first_onset, side="right")) - 1, 0)
    last = min(int(np.searchsorted(beats, last_offset, side="left")), len(beats) - 1)
    first = min(first, len(beats) - 2)
    beats = beats[first : max(last, first + 1) + 1]
    interval = beats[1] - beats[0]
    if 0 < beats[0] - first_onset <= _FIRST_ONSET_REACH * interval:
        beats = np.concatenate(([first_onset], beats[1:]))
    missing = max(int(np.ceil((beats[0] - first_onset) / interval - 1e-9)), 0)
    ahead = beats[0] - interval * np.arange(missing, 0, -1)
    interval = beats[-1] - beats[-2]
    missing = max(int(np.ceil((last_offset - beats[-1]) / interval - 1e-9)), 0)
    behind = beats[-1] + interval * np.arange(1, missing + 1)
    return np.concatenate((ahead, beats, behind))


def _time_signature(meter: Meter) -> TimeSignature:
    if meter.is_compound:
        return TimeSignature(numerator=3 * meter.beats_per_bar, denominator=8)
    return TimeSignature(numerator=meter.beats_per_bar, denominator=4)
