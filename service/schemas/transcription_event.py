"""The server-sent events of a transcription."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from service.schemas.schema import Schema, Seconds
from service.schemas.transcription_options import UsedOptions
from service.schemas.transcription_response import (
    StreamedTranscription,
    TranscriptionModel,
    TranscriptionNote,
    WarningResponse,
)


class StartedEvent(Schema):
    """The recording is open and waits for the device. Always the first event."""

    type: Literal["transcription.started"]
    id: str
    """Id of the transcription, and of its stream: `/v1/transcriptions/{id}/events`."""
    model: TranscriptionModel
    options: UsedOptions
    duration_seconds: Seconds | None
    """Length of the range from `start` to `end`, as the file states it; null if it states none."""
    recording_seconds: Seconds | None
    """Length of the whole recording, as the file states it."""
    created: int
    """Seconds since 1970, UTC."""


class SegmentEvent(Schema):
    """A segment and all segments before it are transcribed; the notes of the segment follow."""

    type: Literal["segment"]
    index: int
    """Counts from 0 without gaps."""
    start: Seconds
    """Seconds from the beginning of the recording."""
    end: Seconds
    note_count: int
    """Number of `note` events that follow: the notes that ended in this segment."""


class NoteEvent(TranscriptionNote):
    """A note that has ended.

    With `postprocess=none` and `quality=standard` these notes are final: sorted by onset, they are
    the `notes` of the JSON. Otherwise they are provisional, since the clean-up and the second pass
    need the whole recording, and the `final_note` events replace them.
    """

    type: Literal["note"]


class FinalNoteEvent(TranscriptionNote):
    """A note after the second pass and the clean-up, sent after the last segment.

    Not sent with `postprocess=none` and `quality=standard`. Sorted by onset, all of them together
    are the `notes` of the JSON.
    """

    type: Literal["final_note"]


class WarningEvent(WarningResponse):
    """Something to know about the recording or the notes, sent when it is found."""

    type: Literal["warning"]


class ProgressEvent(Schema):
    """The progress of the transcription, sent after the notes of each segment."""

    type: Literal["progress"]
    done_seconds: Seconds
    """Length of the sound transcribed so far."""
    total_seconds: Seconds | None
    """Length of the range; null while it is not known."""
    fraction: Annotated[float, Field(ge=0, le=1)] | None
    """`done_seconds` divided by `total_seconds`."""


class CompletedEvent(Schema):
    """The transcription has succeeded. The last event then."""

    type: Literal["completed"]
    transcription: StreamedTranscription
    """The JSON answer without `notes`."""


class ErrorEvent(BaseModel):
    """The transcription has failed: a problem document, except for `type`. The last event then."""

    model_config = ConfigDict(extra="allow", use_attribute_docstrings=True)

    type: Literal["error"]
    title: str
    status: int
    """HTTP status that a response without streaming would have had."""
    detail: str
    code: str
    request_id: str | None
    retry_after_seconds: int | None = None
    """Seconds until a retry may succeed, if known."""


TRANSCRIPTION_EVENTS: tuple[type[BaseModel], ...] = (
    StartedEvent, SegmentEvent, NoteEvent, WarningEvent, ProgressEvent, FinalNoteEvent,
    CompletedEvent, ErrorEvent,
)  # fmt: skip
