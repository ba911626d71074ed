"""A transcription -> the JSON document that the HTTP API answers with and the command line writes.

One writer for both, so that a file made locally and a server's answer can be read by the same
script. Times are rounded to six decimals, the microsecond: the model's times are multiples of
10 ms up to the noise of binary floats, and ``0.30000000000000004`` helps nobody. Confidences are
rounded to four. Notes come in the order of their onsets (a NoteSequence has them in the order in
which they ended).

Drums have no program: a program of 0, as in a NoteSequence, would make them pianos to whoever
groups notes by it. Every note names its track, by its place in ``tracks``, and its instrument.
"""

import dataclasses
from typing import Any

from mt3_model.export.strict_json import finite_or_none, write_json
from mt3_model.notes.note import Note
from mt3_model.notes.tracks import TrackNumbers, drum_name, group_tracks, instrument_name
from mt3_model.notes.transcription import Transcription, TranscriptionWarning

TIME_DECIMALS = 6
_CONFIDENCE_DECIMALS = 4


def to_json_document(
    transcription: Transcription, *, transcription_id: str, created: int
) -> dict[str, Any]:
    """Builds the document; what `service/api/schemas.py` describes as its schema.

    Args:
        transcription: The answer.
        transcription_id: Names this answer in logs and, later, in the store.
        created: When it was made, seconds since 1970 (UTC).
    """
    return {
        **to_json_head(transcription, transcription_id=transcription_id, created=created),
        "notes": _notes(transcription),
    }


def to_json_lines(transcription: Transcription, *, transcription_id: str, created: int) -> str:
    """The same as JSON lines: first the document without its notes, then one note per line.

    Each line says by ``object`` what it is: ``transcription`` or ``note``.
    """
    head = to_json_head(transcription, transcription_id=transcription_id, created=created)
    notes = ({"object": "note", **note} for note in _notes(transcription))
    return "".join(f"{write_json(line)}\n" for line in (head, *notes))


def to_json_head(
    transcription: Transcription, *, transcription_id: str, created: int
) -> dict[str, Any]:
    """The document without its notes."""
    usage = transcription.usage
    numbers = TrackNumbers()
    numbers.assign(transcription.notes.notes)
    tracks = sorted(group_tracks(transcription.notes), key=numbers.number_of)
    return {
        "id": transcription_id,
        "object": "transcription",
        "created": created,
        "model": dataclasses.asdict(transcription.model),
        "options": dataclasses.asdict(transcription.options),
        "duration_seconds": _time(transcription.duration_seconds),
        "recording_seconds": _optional_time(transcription.recording_seconds),
        "tracks": [
            {
                "index": index,
                "program": None if track.is_drum else track.program,
                "name": track.name,
                "is_drum": track.is_drum,
                "note_count": len(track.notes),
            }
            for index, track in enumerate(tracks)
        ],
        "warnings": [to_json_warning(warning) for warning in transcription.warnings],
        "usage": {
            "audio_seconds": _time(usage.audio_seconds),
            "segments": usage.segments,
            "tokens": usage.tokens,
            "queue_seconds": _time(usage.queue_seconds),
            "wall_seconds": _time(usage.wall_seconds),
        },
        "diagnostics": {
            "invalid_events": transcription.invalid_events,
            "dropped_events": transcription.dropped_events,
        },
    }


def _notes(transcription: Transcription) -> list[dict[str, Any]]:
    notes = transcription.notes.notes
    tracks = TrackNumbers().assign(notes)
    in_time = sorted(
        zip(notes, tracks, strict=True),
        # By the times as written: whoever sorts the notes of a stream gets the same order.
        key=lambda pair: (
            _time(pair[0].start_time),
            pair[0].is_drum,
            pair[0].program,
            pair[0].pitch,
            _time(pair[0].end_time),
        ),
    )
    return [to_json_note(note, track) for note, track in in_time]


def to_json_note(note: Note, track: int) -> dict[str, Any]:
    """One note of the document.

    Args:
        note: The note.
        track: Its track's index in ``tracks``.
    """
    confidence = finite_or_none(note.confidence)
    return {
        "start_time": _time(note.start_time),
        "end_time": _time(note.end_time),
        "pitch": note.pitch,
        "velocity": note.velocity,
        "program": None if note.is_drum else note.program,
        "is_drum": note.is_drum,
        "track": track,
        "instrument_name": instrument_name(note),
        "drum_name": drum_name(note),
        "confidence": None if confidence is None else round(confidence, _CONFIDENCE_DECIMALS),
    }


def to_json_warning(warning: TranscriptionWarning) -> dict[str, Any]:
    """One warning of the document."""
    return {
        "code": warning.code,
        "message": warning.message,
        "start": _optional_time(warning.start),
        "end": _optional_time(warning.end),
    }


def _time(seconds: float) -> float:
    return round(seconds, TIME_DECIMALS)


def _optional_time(seconds: float | None) -> float | None:
    return None if seconds is None else _time(seconds)
