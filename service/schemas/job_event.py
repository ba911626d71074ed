"""The server-sent events of a job."""

from typing import Literal

from service.schemas.job_response import JobItemResponse, JobProgress, JobResponse
from service.schemas.schema import Schema, StateName, Time


class JobStatusEvent(Schema):
    """The job has entered a state."""

    type: Literal["job.status"]
    status: StateName
    at: Time


class JobProgressEvent(JobProgress):
    """The progress of the job, after items have ended."""

    type: Literal["job.progress"]


class ItemCompletedEvent(JobItemResponse):
    """An item has succeeded."""

    type: Literal["item.completed"]


class ItemFailedEvent(JobItemResponse):
    """An item has failed."""

    type: Literal["item.failed"]


class JobCompletedEvent(Schema):
    """The job has ended, in whatever state. Always the last event."""

    type: Literal["completed"]
    job: JobResponse


JOB_EVENTS: tuple[type[Schema], ...] = (
    JobStatusEvent, JobProgressEvent, ItemCompletedEvent, ItemFailedEvent, JobCompletedEvent,
)  # fmt: skip
