"""Tempo, bars and the caller's options -> the transcription's warnings."""

from collections.abc import Iterator

from mt3_model.notes.musical_time import MusicalTime
from mt3_model.notes.note import NoteSequence
from mt3_model.notes.rhythm_options import parse_tempo
from mt3_model.notes.transcription import (
    Transcription,
    TranscriptionOptions,
    TranscriptionWarning,
)

RHYTHM_WARNINGS = frozenset(
    {
        "first_downbeat_outside", "meter_uncertain", "tempo_differs", "tempo_uncertain",
        "tempo_unknown",
    }
)  # fmt: skip
"""The codes of this module's warnings."""
SURE_TEMPO = 0.5
"""A tempo with less confidence gets the warning ``tempo_uncertain``. Measured in README.md."""
SURE_METER = 0.6
"""Bars with less confidence get the warning ``meter_uncertain``."""
_SAME_TEMPO = 0.04
"""Share by which a tempo may differ from the true one and count as right: the tolerance of
`mir_eval.tempo`, as in README.md."""
NEAR_SECONDS = 10.0
"""Seconds outside the notes within which the caller may name a downbeat. Beats are counted up to it
at an even tempo; at 120 beats per minute a tempo 2.5 % off accumulates to half a beat."""


def is_near_notes(notes: NoteSequence, seconds: float) -> bool:
    """Return whether a time is between the notes, or at most `NEAR_SECONDS` outside.

    Args:
        notes: the notes of one recording, at least one.
        seconds: the time, from the recording's start.
    """
    first, last = _range_of(notes)
    return first - NEAR_SECONDS <= seconds <= last + NEAR_SECONDS


def warn_of_unused(
    transcription: Transcription, time: MusicalTime | None
) -> Iterator[TranscriptionWarning]:
    """Warn of options of tempo and bars that could not be used.

    Args:
        transcription: the transcription, with its notes and options. Without a note there is
            nothing to which these options could apply, and no warning.
        time: the beats that were found.
    """
    notes, options = transcription.notes, transcription.options
    if not notes.notes:
        return
    if time is None:
        unused = _named_options(options)
        if unused:
            yield TranscriptionWarning(
                code="tempo_unknown",
                message=f"there are too few notes to estimate a tempo, so {' and '.join(unused)}"
                " could not be used: name beats per minute with tempo=",
            )
        return
    named = None if options.tempo is None else parse_tempo(options.tempo)
    if isinstance(named, float) and abs(time.tempo / named - 1) > _SAME_TEMPO:
        yield TranscriptionWarning(
            code="tempo_differs",
            message=f"the tempo was set to {named:g} beats per minute, but the notes fit"
            f" {time.tempo:.1f} better, which is used: set another with tempo=",
        )
    if options.first_downbeat is not None and not is_near_notes(notes, options.first_downbeat):
        first, last = _range_of(notes)
        yield TranscriptionWarning(
            code="first_downbeat_outside",
            message=f"the first downbeat was set to {options.first_downbeat:g} s, but the notes"
            f" are from {first:.2f} to {last:.2f} s, so the downbeats were estimated: set one at"
            f" most {NEAR_SECONDS:g} s from the notes with first_downbeat=",
        )


def warn_of_doubt(time: MusicalTime | None) -> Iterator[TranscriptionWarning]:
    """Warn of an uncertain tempo and of uncertain bars; without beats, of neither."""
    if time is None:
        return
    signature = time.time_signature
    if time.tempo_confidence < SURE_TEMPO:
        yield TranscriptionWarning(
            code="tempo_uncertain",
            message=f"the tempo is uncertain; {time.tempo:.0f} beats per minute is assumed:"
            " set another with tempo= (a number, half or double)",
        )
    if time.meter_confidence < SURE_METER:
        downbeat = time.beat_times[time.first_downbeat]
        yield TranscriptionWarning(
            code="meter_uncertain",
            message=f"the bars are uncertain; {signature.numerator}/{signature.denominator}"
            f" with a downbeat at {downbeat:.2f} s is assumed: set others with"
            " time_signature= and first_downbeat=",
        )


def _named_options(options: TranscriptionOptions) -> list[str]:
    """Return the options that are set and need beats."""
    is_set = {
        "tempo=": options.tempo is not None,
        "time_signature=": options.time_signature is not None,
        "first_downbeat=": options.first_downbeat is not None,
        "quantize=": options.quantize != "none",
    }
    return [name for name, is_named in is_set.items() if is_named]


def _range_of(notes: NoteSequence) -> tuple[float, float]:
    """Return the first onset and the last offset in seconds."""
    first = min(note.start_time for note in notes.notes)
    return first, max(note.end_time for note in notes.notes)
