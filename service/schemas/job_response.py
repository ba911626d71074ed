"""Jobs and their items as the HTTP API answers with them."""

from typing import Any, Literal

from mt3_model.export.formats import ExportFormat
from service.schemas.schema import Schema, Seconds, StateName, Time
from service.schemas.transcription_options import JobOptions
from service.schemas.transcription_response import WarningResponse


class JobProgress(Schema):
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


class JobFailure(Schema):
    """Why it failed."""

    code: str
    message: str


class WebhookDelivery(Schema):
    """The latest try."""

    at: Time
    attempt: int
    status: int | None
    """What the receiver answered; null: nothing."""
    error: str | None
    delivered: bool


class JobWebhook(Schema):
    """Where it is told that the job has ended."""

    url: str
    last_delivery: WebhookDelivery | None


class JobLinks(Schema):
    """Where what belongs to it is; relative to the server."""

    self: str
    items: str
    results: str
    """All results as a zip."""
    events: str


class JobResponse(Schema):
    """A job: recordings submitted together, each transcribed on its own."""

    id: str
    object: Literal["job"]
    status: StateName
    model: str
    options: JobOptions
    response_format: ExportFormat | None = None
    """Of results where a request for them names none; absent where the job was given none."""
    created_at: Time
    processing_at: Time | None
    """When a worker first began with one of its items."""
    ended_at: Time | None
    expires_at: Time
    """When all of it is deleted, counted anew from its end: an unfinished job never expires."""
    progress: JobProgress
    queue_position: int | None
    """Items of the same caller that come before its first one; null once it has begun."""
    error: JobFailure | None
    """Of a failed job, that of its first failed item: it fails when no item succeeds."""
    warnings: list[WarningResponse]
    metadata: dict[str, Any]
    webhook: JobWebhook | None
    links: JobLinks


class JobListResponse(Schema):
    """A page of the caller's jobs, the latest first."""

    object: Literal["list"]
    data: list[JobResponse]
    next_cursor: str | None
    """For `after`; null: these were the last."""


class JobItemResponse(Schema):
    """One recording of a job."""

    object: Literal["job.item"]
    number: int
    """From 0, in the order submitted."""
    name: str | None
    status: StateName
    created_at: Time
    processing_at: Time | None
    ended_at: Time | None
    audio_seconds: Seconds | None
    attempts: int
    """How often a worker began with it."""
    error: JobFailure | None
    """Why it failed; of one that waits to be tried again, why the last try did."""
    warnings: list[WarningResponse]
    result: str | None
    """Where its transcription is, once it succeeded."""


class JobItemListResponse(Schema):
    """A page of a job's items, by number."""

    object: Literal["list"]
    data: list[JobItemResponse]
    next_cursor: str | None
