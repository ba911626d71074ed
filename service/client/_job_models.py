"""The JSON documents of the job API as dataclasses; the fields are those of the server's models.

A job is a set of recordings submitted together; each recording is an item. The server keeps both
until ``expires_at``. A status is ``queued``, ``processing``, ``succeeded``, ``failed`` or
``canceled``. A recording that cannot be read fails its item, not the job. All times are UTC.
"""

import dataclasses
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from service.client._models import TranscriptionOptions, TranscriptionWarning

FINAL_STATUSES = frozenset({"succeeded", "failed", "canceled"})


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class JobProgress:
    """Counts of a job's items."""

    items_total: int
    items_done: int
    """Items that have ended: the sum of the next three."""
    items_succeeded: int
    items_failed: int
    items_canceled: int
    audio_seconds_done: float
    """Total length of the items that succeeded."""
    audio_seconds_total: float | None = None
    """Total length of all items; None while the length of one is unknown."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Failure:
    """The reason why a job or an item failed."""

    code: str
    """Stable and machine-readable, for example ``audio_undecodable``."""
    message: str


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class WebhookDelivery:
    """The latest attempt to deliver a job's webhook."""

    at: datetime
    attempt: int
    """From 1."""
    delivered: bool
    status: int | None = None
    """HTTP status of the receiver's response; None without a response."""
    error: str | None = None
    """Why there was no response."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Webhook:
    """The webhook that is called when the job has ended."""

    url: str
    last_delivery: WebhookDelivery | None = None


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class JobLinks:
    """Paths of a job's resources, relative to the server."""

    self: str
    items: str
    results: str
    """All results as a zip file."""
    events: str


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Job:
    """A job as it is now."""

    id: str
    object: str
    """``job``."""
    status: str
    """One of the statuses above."""
    model: str
    options: TranscriptionOptions
    """The options as used for every item."""
    created_at: datetime
    expires_at: datetime
    """Time when the job and all its data are deleted."""
    progress: JobProgress
    links: JobLinks
    response_format: str | None = None
    """Default format of the results; None: JSON."""
    processing_at: datetime | None = None
    """Time when a worker started the first item."""
    ended_at: datetime | None = None
    queue_position: int | None = None
    """Number of the caller's items ahead of this job's first queued item; None once it started."""
    error: Failure | None = None
    """For a failed job: the error of its first failed item."""
    warnings: tuple[TranscriptionWarning, ...] = ()
    metadata: Mapping[str, Any] = dataclasses.field(default_factory=dict[str, Any])
    """Any JSON, as submitted."""
    webhook: Webhook | None = None

    @property
    def is_ended(self) -> bool:
        """Whether the status is final."""
        return self.status in FINAL_STATUSES


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class JobItem:
    """One recording of a job, as it is now."""

    object: str
    """``job.item``."""
    number: int
    """From 0, in the order of submission."""
    status: str
    created_at: datetime
    attempts: int
    """Number of times that a worker has started this item."""
    name: str | None = None
    """Name under which the recording was submitted."""
    processing_at: datetime | None = None
    ended_at: datetime | None = None
    audio_seconds: float | None = None
    """Length of the recording; None while it is unknown."""
    error: Failure | None = None
    """Why the item failed; while it is being retried, why the last attempt failed."""
    warnings: tuple[TranscriptionWarning, ...] = ()
    result: str | None = None
    """Path of the result once the item has succeeded."""

    @property
    def is_ended(self) -> bool:
        """Whether the status is final."""
        return self.status in FINAL_STATUSES


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class JobEvent:
    """An event of a job."""

    kind: str
    """``job.status``, ``job.progress``, ``item.completed``, ``item.failed`` or ``completed``; in a
    kind that this version does not support, all other fields are None."""
    status: str | None = None
    """The job's new status, in ``job.status``."""
    progress: JobProgress | None = None
    """The job's progress, in ``job.progress``."""
    item: JobItem | None = None
    """The item, in ``item.completed`` and ``item.failed``."""
    job: Job | None = None
    """The job as it ended, in ``completed``."""

    def applied_to(self, job: Job) -> Job:
        """Return the job as it is after this event, as far as the event says."""
        if self.job is not None:
            return self.job
        return dataclasses.replace(
            job, status=self.status or job.status, progress=self.progress or job.progress
        )
