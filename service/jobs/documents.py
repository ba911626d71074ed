"""Jobs and items -> the JSON that callers see: one place for names, times and links.

Here and not at the HTTP edge, because a webhook tells of a job in the same words.
"""

import dataclasses
import datetime
from typing import Any

from mt3_model.export.transcription_json import to_json_warning
from service.jobs.job import Item, Job, JobState

JOBS_PATH = "/v1/jobs"


def job_document(job: Job) -> dict[str, Any]:
    """Writes a job."""
    path = job_path(job.job_id)
    progress = progress_document(job)
    return {
        "id": job.job_id,
        "object": "job",
        "status": job.state.value,
        "model": job.options.model,
        "options": dataclasses.asdict(job.options),
        **({} if job.response_format is None else {"response_format": job.response_format}),
        "created_at": to_time(job.created_at),
        "processing_at": _time_or_none(job.started_at),
        "ended_at": _time_or_none(job.ended_at),
        "expires_at": to_time(job.expires_at),
        "progress": progress,
        "queue_position": job.queue_position,
        "error": None if job.error is None else dataclasses.asdict(job.error),
        "warnings": _warnings(job),
        "metadata": dict(job.metadata),
        "webhook": _webhook(job),
        "links": {
            "self": path,
            "items": f"{path}/items",
            "results": f"{path}/results.zip",
            "events": f"{path}/events",
        },
    }


def progress_document(job: Job) -> dict[str, Any]:
    """Writes how far a job is."""
    progress = job.progress
    return {
        "items_total": progress.items_total,
        "items_done": progress.items_done,
        "items_succeeded": progress.items_succeeded,
        "items_failed": progress.items_failed,
        "items_canceled": progress.items_canceled,
        "audio_seconds_total": progress.audio_seconds_total,
        "audio_seconds_done": progress.audio_seconds_done,
    }


def item_document(item: Item) -> dict[str, Any]:
    """Writes an item."""
    return {
        "object": "job.item",
        "number": item.number,
        "name": item.name,
        "status": item.state.value,
        "created_at": to_time(item.created_at),
        "processing_at": _time_or_none(item.started_at),
        "ended_at": _time_or_none(item.ended_at),
        "audio_seconds": item.audio_seconds,
        "attempts": item.attempts,
        "error": None if item.error is None else dataclasses.asdict(item.error),
        "warnings": [to_json_warning(warning) for warning in item.warnings],
        "result": f"{job_path(item.job_id)}/items/{item.number}/result"
        if item.state is JobState.SUCCEEDED
        else None,
    }


def job_path(job_id: str) -> str:
    """Where a job is."""
    return f"{JOBS_PATH}/{job_id}"


def to_time(seconds: float) -> str:
    """Seconds since 1970 -> ISO 8601 in UTC, to the millisecond."""
    moment = datetime.datetime.fromtimestamp(seconds, datetime.UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _time_or_none(seconds: float | None) -> str | None:
    return None if seconds is None else to_time(seconds)


def _warnings(job: Job) -> list[dict[str, Any]]:
    """What its owner may overlook."""
    found: dict[str, str] = {}
    failed = job.progress.items_failed
    if job.state is JobState.SUCCEEDED and failed:
        found["items_failed"] = (
            f"{failed} of {job.progress.items_total} items failed; see items?status=failed"
        )
    if job.is_metadata_damaged:
        found["metadata_damaged"] = (
            "the metadata was stored with values that JSON does not have; they are null here"
        )
    return [
        {"code": code, "message": message, "start": None, "end": None}
        for code, message in found.items()
    ]


def _webhook(job: Job) -> dict[str, Any] | None:
    webhook = job.webhook
    if webhook is None:
        return None
    last = webhook.last_delivery
    return {
        "url": webhook.url,
        "last_delivery": None
        if last is None
        else {
            "at": to_time(last.at),
            "attempt": last.attempt,
            "status": last.status,
            "error": last.error,
            "delivered": last.is_delivered,
        },
    }
