"""The shapes of jobs over HTTP: what is sent to make one, and what is answered.

`JobRequestShape` reads the JSON body of `POST /v1/jobs`; the others describe what
`job_documents.py` writes, and a test validates the one against the other.
"""

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, ConfigDict, Field, JsonValue

from mt3_model.export.formats import ExportFormat
from mt3_model.notes.transcription import Decoding, PrecisionChoice
from service.api.schemas import Seconds, Shape, WarningShape
from service.numbers import parse_decimal, parse_integer

MAX_REFERENCE_CHARACTERS = 2_048
"""Of a URL: what servers and proxies commonly take."""
MAX_NAME_CHARACTERS = 255
State = Literal["queued", "processing", "succeeded", "failed", "canceled"]
Time = Annotated[str, Field(examples=["2026-11-21T07:30:00.000Z"])]


def _plain_number(value: object) -> object:
    """Reads a number in quotes as options do; pydantic would also read ``1_0`` and ``inf``."""
    number = parse_decimal(value) if isinstance(value, str) else value
    if number is None:
        raise ValueError("expected a decimal number such as 3600")
    return number


def _plain_integer(value: object) -> object:
    number = parse_integer(value) if isinstance(value, str) else value
    if number is None:
        raise ValueError("expected a whole number in digits, such as 20")
    return number


PlainNumber = Annotated[float, BeforeValidator(_plain_number)]
PlainInteger = Annotated[int, BeforeValidator(_plain_integer)]
"""Of a query or a path."""
_Reference = Annotated[str, Field(min_length=1, max_length=MAX_REFERENCE_CHARACTERS)]


class JobInputShape(Shape):
    """A recording that the server fetches: exactly one of `url` and `object`."""

    url: _Reference | None = None
    """`http://` or `https://`; never an address of a private network, unless the deployment allows
    it."""
    object: _Reference | None = None
    """`s3://bucket/key` and the like, from the buckets that the deployment names."""
    name: Annotated[str, Field(max_length=MAX_NAME_CHARACTERS)] | None = None
    """Echoed on the item, and in the names of a zip; when absent, the end of the path."""


class WebhookRequestShape(Shape):
    """Where to tell that the job has ended."""

    url: _Reference
    secret: Annotated[str, Field(min_length=16, max_length=512)] | None = None
    """Signs the deliveries in place of the deployment's."""


class JobRequestShape(Shape):
    """A job of recordings that the server fetches."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "inputs": [{"url": "https://example.org/song.mp3"}],
                    "options": {"response_format": "midi", "end": 60},
                    "metadata": {"album": "first"},
                }
            ]
        }
    )

    inputs: Annotated[list[JobInputShape], Field(min_length=1)]
    options: dict[str, JsonValue] | None = None
    """Those of `POST /v1/transcriptions`, but `stream`."""
    webhook: WebhookRequestShape | None = None
    metadata: dict[str, JsonValue] | None = None
    """Echoed; at most 16 KiB as JSON."""
    expires_in_seconds: PlainNumber | None = None
    """Keep it for so long, at most the deployment's `job_retention_seconds`."""


class JobOptionsShape(Shape):
    """The options asked for."""

    model: str
    decoding: Decoding
    precision: PrecisionChoice
    start: Seconds
    end: Seconds | None
    audio_track: int | None
    """Counted from 1; null: the recording's default."""


class JobProgressShape(Shape):
    """How far a job is."""

    items_total: int
    items_done: int
    """Ended, in whatever way."""
    items_succeeded: int
    items_failed: int
    items_canceled: int
    audio_seconds_total: Seconds | None
    """Null while the length of one recording is not known: until it is opened. What failed or was
    canceled before that counts as nothing."""
    audio_seconds_done: Seconds


class JobErrorShape(Shape):
    """Why it failed."""

    code: str
    message: str


class WebhookDeliveryShape(Shape):
    """The latest try."""

    at: Time
    attempt: int
    status: int | None
    """What the receiver answered; null: nothing."""
    error: str | None
    delivered: bool


class JobWebhookShape(Shape):
    """Where it is told that the job has ended."""

    url: str
    last_delivery: WebhookDeliveryShape | None


class JobLinksShape(Shape):
    """Where what belongs to it is; relative to the server."""

    self: str
    items: str
    results: str
    """All results as a zip."""
    events: str


class JobShape(Shape):
    """A job: recordings submitted together, each transcribed on its own."""

    id: str
    object: Literal["job"]
    status: State
    model: str
    options: JobOptionsShape
    response_format: ExportFormat | None = None
    """Of results where a request for them names none; absent where the job was given none."""
    created_at: Time
    processing_at: Time | None
    """When a worker first began with one of its items."""
    ended_at: Time | None
    expires_at: Time
    """When all of it is deleted, counted anew from its end: an unfinished job never expires."""
    progress: JobProgressShape
    queue_position: int | None
    """Items of the same caller that come before its first one; null once it has begun."""
    error: JobErrorShape | None
    """Of a failed job, that of its first failed item: it fails when no item succeeds."""
    warnings: list[WarningShape]
    metadata: dict[str, Any]
    webhook: JobWebhookShape | None
    links: JobLinksShape


class JobsShape(Shape):
    """A page of the caller's jobs, the latest first."""

    object: Literal["list"]
    data: list[JobShape]
    next_cursor: str | None
    """For `after`; null: these were the last."""


class JobItemShape(Shape):
    """One recording of a job."""

    object: Literal["job.item"]
    number: int
    """From 0, in the order submitted."""
    name: str | None
    status: State
    created_at: Time
    processing_at: Time | None
    ended_at: Time | None
    audio_seconds: Seconds | None
    attempts: int
    """How often a worker began with it."""
    error: JobErrorShape | None
    """Why it failed; of one that waits to be tried again, why the last try did."""
    warnings: list[WarningShape]
    result: str | None
    """Where its transcription is, once it succeeded."""


class JobItemsShape(Shape):
    """A page of a job's items, by number."""

    object: Literal["list"]
    data: list[JobItemShape]
    next_cursor: str | None


class JobStatusEvent(Shape):
    """The job has entered a state."""

    type: Literal["job.status"]
    status: State
    at: Time


class JobProgressEvent(JobProgressShape):
    """How far the job is; after items have ended."""

    type: Literal["job.progress"]


class ItemCompletedEvent(JobItemShape):
    """An item has succeeded."""

    type: Literal["item.completed"]


class ItemFailedEvent(JobItemShape):
    """An item has failed."""

    type: Literal["item.failed"]


class JobCompletedEvent(Shape):
    """Always the last event: the job has ended, in whatever way."""

    type: Literal["completed"]
    job: JobShape
