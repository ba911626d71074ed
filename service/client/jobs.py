"""The JSON answers of the job API as values; field for field those of the server.

A job is recordings that were submitted together: its items. The server keeps both, works on them
while nobody waits, and keeps their results until ``expires_at``. States are plain text, as in
`answers.py`: ``queued``, ``processing``, and of what has ended ``succeeded``, ``failed`` or
``canceled``. One bad recording fails its item and not the job.
"""

import dataclasses
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from service.client.answers import TranscriptionOptions, TranscriptionWarning

ENDED = frozenset({"succeeded", "failed", "canceled"})
"""States in which nothing more happens by itself."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class JobProgress:
    """How far a job is."""

    items_total: int
    items_done: int
    """Ended, in whatever way: the sum of the next three."""
    items_succeeded: int
    items_failed: int
    items_canceled: int
    audio_seconds_done: float
    """Of the items that succeeded."""
    audio_seconds_total: float | None = None
    """Of all items; none while the length of one is not known."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Failure:
    """Why a job or an item failed."""

    code: str
    """Stable, machine-readable: for example ``audio_undecodable``."""
    message: str


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class WebhookDelivery:
    """The latest attempt to deliver a job's webhook."""

    at: datetime
    attempt: int
    """From 1."""
    delivered: bool
    status: int | None = None
    """Of the receiver's answer; none without one."""
    error: str | None = None
    """Why there was none."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Webhook:
    """Who is told that a job has ended."""

    url: str
    last_delivery: WebhookDelivery | None = None


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class JobLinks:
    """Where what belongs to a job is; relative to the server."""

    self: str
    items: str
    results: str
    """All results as a zip."""
    events: str


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Job:
    """A job as it is now. Times are UTC."""

    id: str
    object: str
    """``job``."""
    status: str
    """As the module's docstring says."""
    model: str
    options: TranscriptionOptions
    """As used for every item."""
    created_at: datetime
    expires_at: datetime
    """When everything of it is deleted."""
    progress: JobProgress
    links: JobLinks
    response_format: str | None = None
    """Of results that are fetched without naming a form; none: JSON."""
    processing_at: datetime | None = None
    """When a worker first began with an item of it."""
    ended_at: datetime | None = None
    queue_position: int | None = None
    """Items of the same caller that come before its first waiting one; none once it has begun."""
    error: Failure | None = None
    """Of a failed job: of its first failed item."""
    warnings: tuple[TranscriptionWarning, ...] = ()
    metadata: Mapping[str, Any] = dataclasses.field(default_factory=dict[str, Any])
    """As submitted: any JSON."""
    webhook: Webhook | None = None

    @property
    def is_ended(self) -> bool:
        """Whether nothing more happens by itself."""
        return self.status in ENDED


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class JobItem:
    """One recording of a job, as it is now. Times are UTC."""

    object: str
    """``job.item``."""
    number: int
    """From 0, in the order submitted."""
    status: str
    created_at: datetime
    attempts: int
    """How often a worker began with it."""
    name: str | None = None
    """What it was submitted as: the file's name, or None."""
    processing_at: datetime | None = None
    ended_at: datetime | None = None
    audio_seconds: float | None = None
    """Its length, once it is known."""
    error: Failure | None = None
    """Why it failed; of one that is tried again, why the last try did."""
    warnings: tuple[TranscriptionWarning, ...] = ()
    result: str | None = None
    """Where its result is, once it succeeded."""

    @property
    def is_ended(self) -> bool:
        """Whether nothing more happens by itself."""
        return self.status in ENDED


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class JobPage:
    """Some jobs, latest first, as the server lists them."""

    data: tuple[Job, ...]
    next_cursor: str | None = None
    """Asks for what follows; none: these were the last."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class ItemPage:
    """Some items of a job, by number, as the server lists them."""

    data: tuple[JobItem, ...]
    next_cursor: str | None = None


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class JobEvent:
    """Something that happened to a job."""

    kind: str
    """``job.status``, ``job.progress``, ``item.completed``, ``item.failed``, ``completed``; a later
    server may know more, of which the rest is None."""
    status: str | None = None
    """Of ``job.status``: what the job has become."""
    progress: JobProgress | None = None
    """Of ``job.progress``."""
    item: JobItem | None = None
    """Of ``item.completed`` and ``item.failed``."""
    job: Job | None = None
    """Of ``completed``: as it ended."""

    def applied_to(self, job: Job) -> Job:
        """Gives the job as it is after this, as far as this says."""
        if self.job is not None:
            return self.job
        return dataclasses.replace(
            job, status=self.status or job.status, progress=self.progress or job.progress
        )
