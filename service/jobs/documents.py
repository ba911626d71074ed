"""Jobs and items -> the models of the HTTP API, with their names, times and links.

This module is not in `service/api`, because webhooks send the same models.
"""

from mt3_model.export.formats import ExportFormat
from mt3_model.export.transcription_json import to_json_warning
from service.jobs.job import Failure, Item, Job, JobState
from service.schemas.job_response import (
    JobFailure,
    JobItemResponse,
    JobLinks,
    JobProgress,
    JobResponse,
    JobWebhook,
    WebhookDelivery,
)
from service.schemas.schema import format_time
from service.schemas.transcription_options import JobOptions
from service.schemas.transcription_response import WarningResponse
from service.webhooks.webhook import Webhook

JOBS_PATH = "/v1/jobs"


def describe_job(job: Job) -> JobResponse:
    """Return a job in the form that the API returns."""
    path = job_path(job.job_id)
    return JobResponse(
        id=job.job_id,
        object="job",
        status=job.state.value,
        model=job.options.model,
        options=JobOptions.model_validate(job.options, from_attributes=True),
        response_format=None if job.response_format is None else ExportFormat(job.response_format),
        created_at=format_time(job.created_at),
        processing_at=_time_or_none(job.started_at),
        ended_at=_time_or_none(job.ended_at),
        expires_at=format_time(job.expires_at),
        progress=describe_progress(job),
        queue_position=job.queue_position,
        error=_failure(job.error),
        warnings=_warnings(job),
        metadata=dict(job.metadata),
        webhook=None if job.webhook is None else _webhook(job.webhook),
        links=JobLinks(
            self=path,
            items=f"{path}/items",
            results=f"{path}/results.zip",
            events=f"{path}/events",
        ),
    )


def describe_progress(job: Job) -> JobProgress:
    """Return the progress of a job in the form that the API returns."""
    return JobProgress.model_validate(job.progress, from_attributes=True)


def describe_item(item: Item) -> JobItemResponse:
    """Return an item in the form that the API returns."""
    result = f"{job_path(item.job_id)}/items/{item.number}/result"
    return JobItemResponse(
        object="job.item",
        number=item.number,
        name=item.name,
        status=item.state.value,
        created_at=format_time(item.created_at),
        processing_at=_time_or_none(item.started_at),
        ended_at=_time_or_none(item.ended_at),
        audio_seconds=item.audio_seconds,
        attempts=item.attempts,
        error=_failure(item.error),
        warnings=[WarningResponse(**to_json_warning(warning)) for warning in item.warnings],
        result=result if item.state is JobState.SUCCEEDED else None,
    )


def job_path(job_id: str) -> str:
    """Return the path of a job's URL."""
    return f"{JOBS_PATH}/{job_id}"


def _time_or_none(seconds: float | None) -> str | None:
    return None if seconds is None else format_time(seconds)


def _failure(failure: Failure | None) -> JobFailure | None:
    return None if failure is None else JobFailure(code=failure.code, message=failure.message)


def _warnings(job: Job) -> list[WarningResponse]:
    """Return the warnings of a job."""
    found: dict[str, str] = {}
    failed = job.progress.items_failed
    if job.state is JobState.SUCCEEDED and failed:
        found["items_failed"] = (
            f"{failed} of {job.progress.items_total} items failed; see items?status=failed"
        )
    if job.is_metadata_damaged:
        found["metadata_damaged"] = (
            "the stored metadata has values that JSON cannot express; they are null here"
        )
    return [
        WarningResponse(code=code, message=message, start=None, end=None)
        for code, message in found.items()
    ]


def _webhook(webhook: Webhook) -> JobWebhook:
    last = webhook.last_delivery
    if last is None:
        return JobWebhook(url=webhook.url, last_delivery=None)
    delivery = WebhookDelivery(
        at=format_time(last.at),
        attempt=last.attempt,
        status=last.status,
        error=last.error,
        delivered=last.is_delivered,
    )
    return JobWebhook(url=webhook.url, last_delivery=delivery)
