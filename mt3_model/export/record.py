"""Serialize a transcription to bytes and back without loss, for storing finished jobs.

All export formats are written later from the stored record, so nothing is rounded: floats are
written with enough digits to read the same number, and the value read equals the value written.
The record is one compressed JSON document. It stores notes as columns, so that each field name is
written once and not per note. Equal transcriptions give equal bytes.
"""

import dataclasses
import gzip
import json
import zlib
from typing import Any

from mt3_model.errors import RecordError
from mt3_model.export.strict_json import finite_or_none, write_json
from mt3_model.notes.musical_time import Key, MusicalTime, TimeSignature
from mt3_model.notes.note import Note, NoteSequence
from mt3_model.notes.transcription import (
    ModelProvenance,
    Transcription,
    TranscriptionOptions,
    TranscriptionWarning,
    Usage,
)

FORMAT = 1
"""The version of the layout. Increase it when older code cannot read new records; adding a field
with a default does not need it."""
MEDIA_TYPE = "application/gzip"
_COMPRESSION = 6
_RHYTHM_OPTIONS = ("tempo", "time_signature", "first_downbeat", "quantize")
_NEWER_OPTIONS = ("audio_track", "postprocess", "instruments", "quality", *_RHYTHM_OPTIONS)
"""Options that earlier releases do not have."""


def to_record(transcription: Transcription) -> bytes:
    """Serialize a transcription; `from_record` returns an equal one."""
    notes = transcription.notes
    columns = {
        name: [getattr(note, name) for note in notes.notes] for name in Note.__struct_fields__
    }
    columns["confidence"] = [finite_or_none(note.confidence) for note in notes.notes]
    options = options_to_json(transcription.options)
    # Outside the options, because earlier releases refuse options that they do not have.
    options.pop("postprocess", None)
    options.pop("instruments", None)
    options.pop("quality", None)
    rhythm_options = {name: options.pop(name) for name in _RHYTHM_OPTIONS if name in options}
    document = {
        "format": FORMAT,
        "notes": columns,
        "total_time": notes.total_time,
        "model": dataclasses.asdict(transcription.model),
        "options": options,
        "postprocess": transcription.options.postprocess,
        "instruments": transcription.options.instruments,
        "quality": transcription.options.quality,
        "rhythm_options": rhythm_options,
        "duration_seconds": transcription.duration_seconds,
        "recording_seconds": transcription.recording_seconds,
        "warnings": [dataclasses.asdict(warning) for warning in transcription.warnings],
        "usage": dataclasses.asdict(transcription.usage),
        "invalid_events": transcription.invalid_events,
        "dropped_events": transcription.dropped_events,
        "velocity": transcription.velocity,
        "musical_time": (
            None
            if transcription.musical_time is None
            else dataclasses.asdict(transcription.musical_time)
        ),
    }
    text = write_json(document)
    return gzip.compress(text.encode(), compresslevel=_COMPRESSION, mtime=0)


def from_record(record: bytes) -> Transcription:
    """Read a transcription that `to_record` wrote.

    Raises:
        RecordError: The bytes are not a record, are damaged, or have a newer format.
    """
    try:
        document: dict[str, Any] = json.loads(gzip.decompress(record))
    except (OSError, EOFError, zlib.error, ValueError) as error:
        raise RecordError(f"not a record of a transcription: {error}") from error
    if document.get("format") != FORMAT:
        raise RecordError(
            f"the record's format is {document.get('format')!r}; expected {FORMAT}: this code is"
            " older than what wrote it"
        )
    try:
        return _transcription(document)
    except (KeyError, TypeError, ValueError) as error:
        raise RecordError(f"not a whole record of a transcription: {error!r}") from error


def options_to_json(options: TranscriptionOptions) -> dict[str, Any]:
    """Return options as a JSON object, for records and for job rows.

    Newer options are omitted where the caller left them alone, so that earlier releases, which
    have no such options, can still read the row.
    """
    document = dataclasses.asdict(options)
    defaults = TranscriptionOptions()
    for name in _NEWER_OPTIONS:
        if document[name] == getattr(defaults, name):
            del document[name]
    return document


def options_from_json(document: dict[str, Any]) -> TranscriptionOptions:
    """Read options that `options_to_json` wrote."""
    # JSON has no tuples, and options have no lists.
    values: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value for name, value in document.items()
    }
    return TranscriptionOptions(**values)


def _transcription(document: dict[str, Any]) -> Transcription:
    columns: dict[str, list[Any]] = document["notes"]
    return Transcription(
        notes=NoteSequence(
            notes=tuple(
                Note(**dict(zip(columns, values, strict=True)))
                for values in zip(*columns.values(), strict=True)
            ),
            total_time=document["total_time"],
        ),
        model=ModelProvenance(**document["model"]),
        # Older records hold the notes as the model wrote them.
        options=options_from_json(
            document["options"]
            | {
                "postprocess": document.get("postprocess", "none"),
                "instruments": document.get("instruments", []),
                "quality": document.get("quality", "standard"),
            }
            | document.get("rhythm_options", {})
        ),
        duration_seconds=document["duration_seconds"],
        recording_seconds=document.get("recording_seconds"),  # absent in older records
        warnings=tuple(TranscriptionWarning(**warning) for warning in document["warnings"]),
        usage=Usage(**document["usage"]),
        invalid_events=document["invalid_events"],
        dropped_events=document["dropped_events"],
        velocity=document.get("velocity", "constant"),  # absent in older records
        musical_time=_musical_time(document.get("musical_time")),
    )


def _musical_time(document: dict[str, Any] | None) -> MusicalTime | None:
    if document is None:
        return None
    key = document["key"]
    values: dict[str, Any] = document | {
        "beat_times": tuple(document["beat_times"]),
        "time_signature": TimeSignature(**document["time_signature"]),
        "key": None if key is None else Key(**key),
    }
    return MusicalTime(**values)
