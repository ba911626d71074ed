"""Jobs and their items, as the HTTP API returns them."""

from typing import Any, Literal

from pydantic import ConfigDict, Field
from pydantic.config import JsonDict

from mt3_model.export.formats import ExportFormat
from service.schemas.schema import Schema, Seconds, StateName, Time
from service.schemas.transcription_options import JobOptions
from service.schemas.transcription_response import WarningResponse

JOB_EXAMPLE: JsonDict = {
    "id": "job_5186d10e93f9f0325186d10e",
    "object": "job",
    "status": "processing",
    "model": "mt3",
    "options": {
        "model": "mt3", "decoding": "greedy", "precision": "auto", "start": 0.0, "end": None,
        "audio_track": None, "postprocess": "default", "instruments": [],
        "quality": "standard", "tempo": None,
        "time_signature": None, "first_downbeat": None, "quantize": "none",
    },
    "response_format": "midi",
    "created_at": "2026-11-21T07:30:00.000Z",
    "processing_at": "2026-11-21T07:30:00.210Z",
    "ended_at": None,
    "expires_at": "2026-11-28T07:30:00.000Z",
    "progress": {
        "items_total": 2, "items_done": 1, "items_succeeded": 1, "items_failed": 0,
        "items_canceled": 0, "audio_seconds_total": None, "audio_seconds_done": 27.15,
    },
    "queue_position": None,
    "error": None,
    "warnings": [],
    "metadata": {"album": "first"},
    "webhook": None,
    "links": {
        "self": "/v1/jobs/job_5186d10e93f9f0325186d10e",
        "items": "/v1/jobs/job_5186d10e93f9f0325186d10e/items",
        "results": "/v1/jobs/job_5186d10e93f9f0325186d10e/results.zip",
        "events": "/v1/jobs/job_5186d10e93f9f0325186d10e/events",
    },
}  # fmt: skip


class JobProgress(Schema):
    """The progress of a job."""

    items_total: int
    items_done: int
    """Items that have ended: succeeded, failed or canceled."""
    items_succeeded: int
    items_failed: int
    items_canceled: int
    audio_seconds_total: Seconds | None
    """Length of all recordings; null until each of them has been opened. A recording that failed or
    was canceled before that counts as 0."""
    audio_seconds_done: Seconds
    """Length of the recordings that succeeded."""


class JobFailure(Schema):
    """Why a job or an item failed."""

    code: str
    """Stable name of the kind of failure."""
    message: str


class WebhookDelivery(Schema):
    """The latest attempt to deliver a webhook."""

    at: Time
    attempt: int
    status: int | None
    """HTTP status of the receiver's answer; null if there was none."""
    error: str | None
    delivered: bool


class JobWebhook(Schema):
    """The URL that the server calls when the job has ended."""

    url: str
    last_delivery: WebhookDelivery | None


class JobLinks(Schema):
    """Paths on this server that belong to the job."""

    self: str
    items: str
    results: str
    """All results as a zip."""
    events: str
    """Progress as server-sent events."""


class JobResponse(Schema):
    """A job: recordings submitted together, each transcribed on its own."""

    model_config = ConfigDict(json_schema_extra={"examples": [JOB_EXAMPLE]})

    id: str
    object: Literal["job"]
    status: StateName
    model: str
    options: JobOptions
    response_format: ExportFormat | None = Field(
        default=None, exclude_if=lambda chosen: chosen is None
    )
    """Default format of the results; absent if the job has none."""
    created_at: Time
    processing_at: Time | None
    """Time when a worker started the first of the items."""
    ended_at: Time | None
    expires_at: Time
    """Time when the job and its results are deleted; recomputed when the job ends, since an
    unfinished job never expires."""
    progress: JobProgress
    queue_position: int | None
    """Items of the same caller that come before the first item of this job; null once the job has
    begun."""
    error: JobFailure | None
    """Failure of the first failed item, if no item succeeded."""
    warnings: list[WarningResponse]
    metadata: dict[str, Any]
    """The JSON object that was sent with the job."""
    webhook: JobWebhook | None
    links: JobLinks


class JobListResponse(Schema):
    """A page of the caller's jobs, newest first."""

    object: Literal["list"]
    data: list[JobResponse]
    next_cursor: str | None
    """Value of `after` for the next page; null on the last page."""


class JobItemResponse(Schema):
    """One recording of a job."""

    object: Literal["job.item"]
    number: int
    """Counts from 0, in the order submitted."""
    name: str | None
    status: StateName
    created_at: Time
    processing_at: Time | None
    ended_at: Time | None
    audio_seconds: Seconds | None
    attempts: int
    """Number of times that a worker started this item."""
    error: JobFailure | None
    """Why the item failed, or why its last attempt failed if another one follows."""
    warnings: list[WarningResponse]
    result: str | None
    """Path of the transcription, once the item has succeeded."""


class JobItemListResponse(Schema):
    """A page of a job's items, by number."""

    object: Literal["list"]
    data: list[JobItemResponse]
    next_cursor: str | None
    """Value of `after` for the next page; null on the last page."""
