"""The body of a webhook."""

from typing import Literal

from service.schemas.job_response import JobResponse
from service.schemas.schema import Schema, Time


class WebhookPayload(Schema):
    """A job has ended."""

    event: Literal["job.succeeded", "job.failed", "job.canceled"]
    created_at: Time
    """Time when the job ended; the same in every attempt to deliver the event."""
    job: JobResponse
    """The job as `GET /v1/jobs/{id}` returned it at the time of the first attempt."""
