"""The JSON document of a transcription -> a `Transcription`, so that it can be written differently.

This is the inverse of `transcription_json.py`. The document may have been edited in between: notes
removed, moved, or given another program or instrument name. Tracks are grouped
again from the notes, so `tracks` and `track` are not read.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from mt3_model.errors import OptionError
from mt3_model.notes.decoding import DRUM_INSTRUMENT, InstrumentNumbers
from mt3_model.notes.general_midi import PROGRAM_NAMES
from mt3_model.notes.note import Note, NoteSequence
from mt3_model.notes.tracks import DRUMS_NAME
from mt3_model.notes.transcription import (
    ModelProvenance,
    Transcription,
    TranscriptionOptions,
    TranscriptionWarning,
    Usage,
)

MAX_SECONDS = 86_400.0
"""Latest offset of a note: a day, longer than any recording that can be transcribed."""
_NAME_CHARACTERS = 100
"""Longest name of a track that is kept."""
_GENERAL_MIDI_NAMES = frozenset({DRUMS_NAME, *PROGRAM_NAMES})
"""Names that do not count as given by the user: a note moved to another program may still have the
old program's name."""


def from_json_document(document: Mapping[str, Any]) -> Transcription:
    """Read the document that `to_json_document` wrote.

    Args:
        document: The document, with the fields and types of the published schema.

    Raises:
        OptionError: A note is impossible: it ends before it starts, is silent, or is longer than a
            day.
    """
    options: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value
        for name, value in document["options"].items()
    }
    return Transcription(
        notes=_read_notes(document["notes"]),
        model=ModelProvenance(**document["model"]),
        options=TranscriptionOptions(**options),
        duration_seconds=document["duration_seconds"],
        recording_seconds=document["recording_seconds"],
        warnings=tuple(TranscriptionWarning(**warning) for warning in document["warnings"]),
        usage=Usage(**document["usage"]),
        velocity=document["velocity"],
        **document["diagnostics"],
    )


def _read_notes(given: Iterable[Mapping[str, Any]]) -> NoteSequence:
    """Read notes; they are numbered in the order in which they end, as the decoder numbers them."""
    numbers = InstrumentNumbers()
    notes: list[Note] = []
    names: dict[int | None, str] = {}
    for note in sorted(given, key=lambda note: (note["end_time"], note["start_time"])):
        _check(note)
        program = 0 if note["is_drum"] else note["program"] or 0
        notes.append(
            Note(
                pitch=note["pitch"],
                start_time=note["start_time"],
                end_time=note["end_time"],
                velocity=note["velocity"],
                program=program,
                is_drum=note["is_drum"],
                instrument=DRUM_INSTRUMENT if note["is_drum"] else numbers.number_of(program),
                confidence=note["confidence"],
            )
        )
        name = _printable(note["instrument_name"])
        if name and name not in _GENERAL_MIDI_NAMES:
            names.setdefault(None if note["is_drum"] else program, name)
    return NoteSequence(
        notes=tuple(notes),
        total_time=notes[-1].end_time if notes else 0.0,
        track_names=tuple(names.items()),
    )


def _printable(name: str) -> str:
    """Drop characters that MIDI and XML files cannot hold, such as control characters."""
    return "".join(c for c in name if c.isprintable())[:_NAME_CHARACTERS].strip()


def _check(note: Mapping[str, Any]) -> None:
    """Raise `OptionError` for a note that no format can hold."""
    start, end = note["start_time"], note["end_time"]
    # Written so that a time that is not a number is refused too.
    if not 0 <= start <= end <= MAX_SECONDS:
        raise OptionError(
            "notes",
            f"a note lasts from {start} s to {end} s; expected a start before its end, and an end"
            f" of at most {MAX_SECONDS:,.0f} s",
        )
    if note["velocity"] == 0:
        raise OptionError(
            "notes", f"the note at {start:g} s has velocity 0; expected 1 to 127, or leave it out"
        )
