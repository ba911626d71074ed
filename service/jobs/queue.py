"""The port through which everything else uses jobs: what a queue of durable work can do here.

Thin on purpose. It says our verbs on our nouns and nothing of the engine behind it
(`running/job_queue.py`), which could be replaced by another without a change elsewhere.

Whatever `JobQueue.submit` has returned survives the death of any process: each item ends exactly
once as succeeded, failed or canceled. An item may be *begun* more than once (a worker can die after
the work and before the note of it), which is why the handler looks for its own result first.
"""

import dataclasses
from collections.abc import AsyncIterator, Sequence
from typing import Protocol

from service.jobs.job import Item, ItemHandler, Job, JobState, NewJob


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Submission:
    """What became of a submitted job."""

    job: Job
    is_new: bool
    """False: the idempotency key was known, and this is the job it made."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class JobPage:
    """Some jobs, latest first."""

    jobs: tuple[Job, ...]
    next_cursor: str | None
    """To be handed in as ``after``; absent: these were the last."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class ItemPage:
    """Some items of one job, by number."""

    items: tuple[Item, ...]
    next_cursor: str | None


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Swept:
    """What a sweep removed or put right."""

    jobs: int
    """Expired or deleted, with all that was theirs."""
    objects: int
    orphans: int
    """Objects that belonged to no job."""
    mended: int
    """Items and jobs whose state did not fit what the engine says, put right."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Backlog:
    """What waits, over all tenants: what autoscaling and alerts look at."""

    queued_items: int
    processing_items: int
    oldest_queued_seconds: float
    """How long the longest waiting item could have been begun: since it was submitted, or queued
    again. Items in the pause between two tries do not count; 0 without any other."""


class StoredObjectLike(Protocol):
    """One object of a listing."""

    @property
    def key(self) -> str:
        """Its key."""
        ...

    @property
    def modified_at(self) -> float:
        """Seconds since 1970 (UTC)."""
        ...


class JobObjects(Protocol):
    """What a queue needs of the storage: to remove what is a job's."""

    def list_prefix(self, prefix: str) -> AsyncIterator[StoredObjectLike]:
        """Gives the objects under a prefix."""
        ...

    async def delete(self, key: str) -> None:
        """Deletes one."""
        ...

    async def delete_prefix(self, prefix: str) -> int:
        """Deletes all under a prefix; gives their number."""
        ...


class JobQueue(Protocol):
    """Durable jobs. All methods may raise `JobsUnavailableError`.

    A job of another tenant, or one that was deleted, is a `JobNotFoundError` everywhere.
    """

    async def launch(self, handler: ItemHandler | None) -> None:
        """Opens the database and, with a handler, begins to work on items.

        Raises:
            DatabaseInUseError: SQLite, and another process has it.
        """
        ...

    async def close(self, *, grace_seconds: float) -> None:
        """Takes no more items, lets those running end within the time, puts the rest back."""
        ...

    async def submit(self, new: NewJob) -> Submission:
        """Accepts a job with all its items, or nothing of it.

        Raises:
            IdempotencyError: The key belongs to a job made from another body.
        """
        ...

    async def get(self, tenant: str, job_id: str) -> Job:
        """Gives a job as it is now."""
        ...

    async def refresh(self, known: Sequence[Job]) -> tuple[Job | None, ...]:
        """Gives jobs as they are now, with the same few queries however many they are.

        Args:
            known: As they were given before.

        Returns:
            In their order; None for one that is not there any more. Of one that still waits, the
            position in the queue is the old one.
        """
        ...

    async def list_jobs(
        self,
        tenant: str,
        *,
        state: JobState | None = None,
        limit: int = 20,
        after: str | None = None,
    ) -> JobPage:
        """Gives a tenant's jobs, latest first.

        Raises:
            OptionError: ``after`` is no cursor of ours.
        """
        ...

    async def list_items(
        self,
        tenant: str,
        job_id: str,
        *,
        state: JobState | None = None,
        limit: int = 100,
        after: str | None = None,
    ) -> ItemPage:
        """Gives a job's items by number.

        Raises:
            OptionError: ``after`` is no cursor of ours.
        """
        ...

    async def list_ended_items(
        self,
        tenant: str,
        job_id: str,
        *,
        after: tuple[float, int],
        until: float | None = None,
        limit: int = 100,
    ) -> tuple[Item, ...]:
        """Gives a job's items that succeeded or failed, in the order in which they did.

        Args:
            tenant: Whose job it is.
            job_id: Its id.
            after: When the last item seen ended, and its number.
            until: Those that ended later are left out; absent: none.
            limit: Most items.
        """
        ...

    async def get_item(self, tenant: str, job_id: str, number: int) -> Item:
        """Gives one item."""
        ...

    async def cancel(self, tenant: str, job_id: str) -> Job:
        """Gives up what is not finished; of a job that has ended, nothing changes."""
        ...

    async def retry(self, tenant: str, job_id: str) -> Job:
        """Puts the failed items back into the queue; without any, nothing changes.

        Raises:
            JobConflictError: The job was canceled.
        """
        ...

    async def delete(self, tenant: str, job_id: str) -> None:
        """Removes a job and every trace of it, running or not."""
        ...

    async def sweep(self) -> Swept:
        """Removes what has expired and what belongs to nobody; mends what does not fit.

        Any number of processes may ask for it, at any time; one at a time does it.
        """
        ...

    async def backlog(self, *, max_age_seconds: float = 0.0) -> Backlog:
        """Counts what waits.

        Args:
            max_age_seconds: Another process's count will do when it is not older.
        """
        ...
