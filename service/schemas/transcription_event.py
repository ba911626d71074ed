"""The server-sent events of a transcription."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from service.schemas.schema import Schema, Seconds
from service.schemas.transcription_options import UsedOptions
from service.schemas.transcription_response import (
    TranscriptionDiagnostics,
    TranscriptionModel,
    TranscriptionNote,
    TranscriptionTrack,
    TranscriptionUsage,
    WarningResponse,
)


class StartedEvent(Schema):
    """Always the first event: the recording is open and waits for the device."""

    type: Literal["transcription.started"]
    id: str
    """Of the transcription, and of its stream: `/v1/transcriptions/{id}/events`."""
    model: TranscriptionModel
    options: UsedOptions
    duration_seconds: Seconds | None
    """Length of the range asked for, by the recording's own account; null where it gives none."""
    recording_seconds: Seconds | None
    """Length of the whole recording, by the same account."""
    created: int
    """Seconds since 1970, UTC."""


class SegmentEvent(Schema):
    """A segment is transcribed, and so are all before it; its notes follow."""

    type: Literal["segment"]
    index: int
    """0, 1, 2...: none is left out."""
    start: Seconds
    """Seconds of the recording."""
    end: Seconds
    note_count: int
    """How many `note` events follow it: of notes that ended in it."""


class NoteEvent(TranscriptionNote):
    """A note that has ended; final. Sorted by onset, all of them are the `notes` of the JSON."""

    type: Literal["note"]


class WarningEvent(WarningResponse):
    """Something to know, told when it is found."""

    type: Literal["warning"]


class ProgressEvent(Schema):
    """How far it is; follows the notes of each segment."""

    type: Literal["progress"]
    done_seconds: Seconds
    """Sound transcribed, from the start of the range."""
    total_seconds: Seconds | None
    """Length of the range; null while nobody knows."""
    fraction: Annotated[float, Field(ge=0, le=1)] | None
    """The one of the other."""


class StreamedTranscription(Schema):
    """A transcription whose notes have been sent before it."""

    id: str
    object: Literal["transcription"]
    created: int
    model: TranscriptionModel
    options: UsedOptions
    duration_seconds: Seconds
    recording_seconds: Seconds | None
    tracks: list[TranscriptionTrack]
    warnings: list[WarningResponse]
    usage: TranscriptionUsage
    diagnostics: TranscriptionDiagnostics


class CompletedEvent(Schema):
    """Always the last event of a transcription that succeeds."""

    type: Literal["completed"]
    transcription: StreamedTranscription
    """As the JSON, without `notes`."""


class ErrorEvent(BaseModel):
    """Always the last event of a transcription that fails: the problem document, but for `type`."""

    model_config = ConfigDict(extra="allow", use_attribute_docstrings=True)

    type: Literal["error"]
    title: str
    status: int
    """What an answer in one piece would have had."""
    detail: str
    code: str
    request_id: str | None
    retry_after_seconds: int | None = None
    """After how many seconds trying again may help, where that is known."""
