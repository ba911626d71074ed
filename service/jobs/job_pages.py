"""Data types of the job queue besides jobs and items: submissions, pages and the backlog."""

import dataclasses

from service.jobs.job import Item, Job


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Submission:
    """The result of submitting a job."""

    job: Job
    is_new: bool
    """False if the idempotency key was known; this is then the job of its first request."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class JobPage:
    """A page of jobs, latest first."""

    jobs: tuple[Job, ...]
    next_cursor: str | None
    """The ``after`` of the next page; None on the last page."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class ItemPage:
    """A page of one job's items, by number."""

    items: tuple[Item, ...]
    next_cursor: str | None


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Backlog:
    """The queued items of all tenants, for autoscaling and alerts."""

    queued_items: int
    processing_items: int
    oldest_queued_seconds: float
    """Time since the oldest queued item was submitted or queued again, in seconds. Items that wait
    between two attempts do not count. 0 if no other items are queued."""
