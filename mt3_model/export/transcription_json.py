"""A transcription -> the JSON document of the HTTP API and the command line.

Both write the same document, so one script can read local files and server responses. Times are
rounded to six decimals (a microsecond): the model's times are multiples of 10 ms except for
floating-point noise such as ``0.30000000000000004``. Confidences are rounded to four decimals.
Notes are sorted by onset (a NoteSequence has them in the order in which they ended).

The program of a drum note is null: 0, as in a NoteSequence, would make drums look like a piano to
code that groups notes by program. Every note has the index of its track in ``tracks`` and the name
of its instrument.
"""

import dataclasses
import operator
from typing import Any

from mt3_model.export.strict_json import finite_or_none, write_json
from mt3_model.notes.musical_time import MusicalTime, key_name
from mt3_model.notes.note import Note
from mt3_model.notes.tracks import TrackNumbers, drum_name, group_tracks, instrument_name
from mt3_model.notes.transcription import Transcription, TranscriptionWarning

TIME_DECIMALS = 6
_CONFIDENCE_DECIMALS = 4
_TEMPO_DECIMALS = 2
_SORTED_BY = operator.itemgetter("start_time", "is_drum", "program", "pitch", "end_time")


def to_json_document(
    transcription: Transcription, *, transcription_id: str, created: int
) -> dict[str, Any]:
    """Build the JSON document.

    Args:
        transcription: The transcription to write.
        transcription_id: The transcription's id, which also appears in logs and in the store.
        created: The time of creation in seconds since 1970 (UTC).
    """
    return {
        **to_json_head(transcription, transcription_id=transcription_id, created=created),
        "notes": _notes(transcription),
    }


def to_json_lines(transcription: Transcription, *, transcription_id: str, created: int) -> str:
    """Write JSON lines: first the document without its notes, then one note per line.

    The ``object`` of a line is ``transcription`` or ``note``.
    """
    head = to_json_head(transcription, transcription_id=transcription_id, created=created)
    notes = ({"object": "note", **note} for note in _notes(transcription))
    return "".join(f"{write_json(line)}\n" for line in (head, *notes))


def to_json_head(
    transcription: Transcription, *, transcription_id: str, created: int
) -> dict[str, Any]:
    """Build the document without its notes."""
    usage = transcription.usage
    numbers = TrackNumbers()
    numbers.assign(transcription.notes.notes)
    tracks = sorted(group_tracks(transcription.notes), key=numbers.number_of)
    return {
        "id": transcription_id,
        "object": "transcription",
        "created": created,
        "model": dataclasses.asdict(transcription.model),
        "options": {
            name: list(value) if isinstance(value, tuple) else value
            for name, value in dataclasses.asdict(transcription.options).items()
        },
        "duration_seconds": _time(transcription.duration_seconds),
        "recording_seconds": _optional_time(transcription.recording_seconds),
        "velocity": transcription.velocity,
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
        **to_json_musical_time(transcription.musical_time),
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
    names = dict(transcription.notes.track_names)
    tracks = TrackNumbers().assign(notes)
    written = [
        to_json_note(note, track, names.get(None if note.is_drum else note.program))
        for note, track in zip(notes, tracks, strict=True)
    ]
    # By rounded times, so that a client that sorts streamed notes gets the same order.
    return sorted(written, key=_SORTED_BY)


def to_json_note(note: Note, track: int, name: str | None = None) -> dict[str, Any]:
    """Build one note of the document.

    Args:
        note: The note.
        track: The index of its track in ``tracks``.
        name: The name given to its track; None for the one of General MIDI.
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
        "instrument_name": name or instrument_name(note),
        "drum_name": drum_name(note),
        "confidence": None if confidence is None else round(confidence, _CONFIDENCE_DECIMALS),
    }


def to_json_musical_time(time: MusicalTime | None) -> dict[str, Any]:
    """Build the members ``tempo``, ``time_signature`` and ``key``, each null if not estimated."""
    if time is None:
        return {"tempo": None, "time_signature": None, "key": None}
    tempo = {
        "beats_per_minute": round(time.tempo, _TEMPO_DECIMALS),
        "confidence": round(time.tempo_confidence, _CONFIDENCE_DECIMALS),
        "beats": [_time(beat) for beat in time.beat_times],
        "downbeats": [
            _time(beat) for index, beat in enumerate(time.beat_times) if time.is_downbeat(index)
        ],
    }
    time_signature = {
        "numerator": time.time_signature.numerator,
        "denominator": time.time_signature.denominator,
        "confidence": round(time.meter_confidence, _CONFIDENCE_DECIMALS),
    }
    key = time.key and {
        "fifths": time.key.fifths,
        "mode": time.key.mode,
        "name": key_name(time.key),
        "confidence": round(time.key.confidence, _CONFIDENCE_DECIMALS),
    }
    return {"tempo": tempo, "time_signature": time_signature, "key": key}


def to_json_warning(warning: TranscriptionWarning) -> dict[str, Any]:
    """Build one warning of the document."""
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
