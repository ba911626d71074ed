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
    """How far the job is; after items have ended."""

    type: Literal["job.progress"]


class ItemCompletedEvent(JobItemResponse):
    """An item has succeeded."""

    type: Literal["item.completed"]


class ItemFailedEvent(JobItemResponse):
    """An item has failed."""

    type: Literal["item.failed"]


class JobCompletedEvent(Schema):
    """Always the last event: the job has ended, in whatever way."""

    type: Literal["completed"]
    job: JobResponse
