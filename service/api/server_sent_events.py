"""Encode a transcription's events as server-sent events with ids.

One event of `Transcriber.stream` becomes one or several on the wire: a segment is followed by a
``note`` event for each of its notes. A stream stores the small event objects (a segment's notes are
shared with the result, not copied) and encodes them for each reader when they are sent.

Source of the wire format: https://html.spec.whatwg.org/multipage/server-sent-events.html
"""

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any

from fastapi.sse import format_sse_event

from mt3_model.export.strict_json import write_json
from mt3_model.export.transcription_json import (
    TIME_DECIMALS,
    to_json_head,
    to_json_note,
    to_json_warning,
)
from mt3_model.notes.transcription import ModelProvenance, TranscriptionOptions
from service.transcription_events import (
    Completed,
    FinalNotes,
    Progress,
    SegmentDone,
    Started,
    TranscriptionEvent,
    Warned,
)

MEDIA_TYPE = "text/event-stream"
EVENT_STREAM_HEADERS: Mapping[str, str] = {
    "Cache-Control": "no-store",
    "X-Accel-Buffering": "no",  # stops nginx from buffering the events
}
RECONNECTION = format_sse_event(retry=1_000)
"""Makes browsers reconnect after one second; by default they wait some seconds."""
_FRACTION_DECIMALS = 4


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class StreamIdentity:
    """The members that the first and the last event of a stream repeat."""

    transcription_id: str
    created: int
    """Seconds since 1970, UTC."""
    model: ModelProvenance
    options: TranscriptionOptions
    """The options as used: the precision is the model's."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Failed:
    """The transcription failed; the last event of its stream."""

    problem: Mapping[str, object]
    """The problem document."""


StreamEvent = TranscriptionEvent | Failed


def count_events(event: StreamEvent) -> int:
    """Return the number of wire events that an event becomes."""
    match event:
        case SegmentDone():
            return 1 + len(event.notes)
        case FinalNotes():
            return len(event.notes)
        case _:
            return 1


def encode_events(
    event: StreamEvent, identity: StreamIdentity, *, first_id: int, after: int = 0
) -> bytes:
    """Encode one event for the wire.

    Args:
        event: The event.
        identity: The stream's identity.
        first_id: The id of the event's first wire event.
        after: Wire events up to this id are skipped.
    """
    written = (
        format_sse_event(
            event=document["type"],
            data_str=write_json(document),
            id=str(number),
        )
        for number, document in enumerate(_documents(event, identity), first_id)
        if number > after
    )
    return b"".join(written)


def _documents(event: StreamEvent, identity: StreamIdentity) -> Iterator[dict[str, Any]]:
    match event:
        case Started():
            yield {
                "type": "transcription.started",
                "id": identity.transcription_id,
                "model": dataclasses.asdict(identity.model),
                "options": dataclasses.asdict(identity.options),
                "duration_seconds": _seconds(event.audio_seconds),
                "recording_seconds": _seconds(event.recording_seconds),
                "created": identity.created,
            }
        case SegmentDone():
            yield {
                "type": "segment",
                "index": event.index,
                "start": _seconds(event.start),
                "end": _seconds(event.end),
                "note_count": len(event.notes),
            }
            for note, track in zip(event.notes, event.tracks, strict=True):
                yield {"type": "note", **to_json_note(note, track)}
        case Warned():
            yield {"type": "warning", **to_json_warning(event.warning)}
        case Progress():
            yield {
                "type": "progress",
                "done_seconds": _seconds(event.done_seconds),
                "total_seconds": _seconds(event.total_seconds),
                "fraction": _fraction(event),
            }
        case FinalNotes():
            for note, track in zip(event.notes, event.tracks, strict=True):
                yield {"type": "final_note", **to_json_note(note, track)}
        case Completed():
            head = to_json_head(
                event.transcription,
                transcription_id=identity.transcription_id,
                created=identity.created,
            )
            yield {"type": "completed", "transcription": head}
        case Failed():
            yield {**event.problem, "type": "error"}


def _seconds(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, TIME_DECIMALS)


def _fraction(progress: Progress) -> float | None:
    """Return the fraction done, at most 1: a header may declare less audio than there is."""
    total = progress.total_seconds
    if total is None:
        return None
    return round(min(progress.done_seconds / total, 1.0), _FRACTION_DECIMALS) if total else 1.0
