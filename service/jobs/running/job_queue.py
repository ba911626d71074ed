"""`JobQueue`: all operations on jobs, on one open database.

A job that `JobQueue.submit` has returned survives the death of any process: each item ends exactly
once as succeeded, failed or canceled. An item may be started more than once, because a worker can
die after the work and before recording it; so the handler first looks for a result.

A process without a handler (an API server whose jobs are run by workers) submits and reads jobs;
one with a handler also runs them. On SQLite these are the same process.
"""

import asyncio
import contextlib
import dataclasses
import logging
import time
from collections.abc import Callable, Mapping, Sequence

import sqlalchemy as sa
from sqlalchemy import exc

from service.errors import (
    IdempotencyError,
    JobsUnavailableError,
    StorageError,
    StorageFullError,
)
from service.jobs.job import Item, ItemHandler, Job, JobState, NewJob, job_prefix
from service.jobs.job_pages import Backlog, ItemPage, JobPage, Submission
from service.jobs.running.job_worker import JobWorker, WorkerOptions
from service.jobs.running.sweeper import Sweeper, SweepOptions, Swept
from service.jobs.store import backlog, job_queries, job_store, retention
from service.jobs.store.job_database import JobDatabase
from service.observability.logging import log_event
from service.storage.objects import Objects
from service.webhooks.sender import WebhookSender

_logger = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class QueueOptions(SweepOptions):
    """A deployment's options for jobs."""

    retention_seconds: float = 7 * 24 * 3_600.0
    """Time for which jobs are kept after their end, unless their owner requested less."""


class JobQueue:
    """The jobs of one process. All methods may raise `JobsUnavailableError`.

    For a job of another tenant, or one that was deleted, all raise `JobNotFoundError`.
    """

    def __init__(
        self,
        jobs: JobDatabase,
        objects: Objects,
        *,
        options: QueueOptions | None = None,
        worker: WorkerOptions | None = None,
        on_outcome: Callable[[str], None] | None = None,
        webhooks: WebhookSender | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Prepare the queue, which then owns the database.

        Args:
            jobs: the open database, as `open_job_database` returns it.
            objects: the storage of recordings and results.
            options: the deployment's options for jobs.
            worker: options for running items.
            on_outcome: called with ``succeeded``, ``failed``, ``retried`` or ``canceled`` when an
                attempt at an item ends in this process.
            webhooks: sends webhooks until `close`; None: other processes do.
            clock: returns seconds since 1970.
        """
        self._database = jobs.database
        self._tasks = jobs.tasks
        self._jobs = jobs
        self._objects = objects
        self._options = options or QueueOptions()
        self._worker_options = worker or WorkerOptions()
        self._on_outcome = on_outcome
        self._webhooks = webhooks
        self._clock = clock
        self._worker: JobWorker | None = None
        self._sweeper = Sweeper(jobs, objects, self._options, now=clock())

    def require_storage(self) -> None:
        """Refuse a storage that does not answer, or belongs to another database; blocks.

        Raises:
            StorageError: it cannot be used.
        """
        if self._jobs.binding is not None:
            self._jobs.binding.bind(self._database)

    async def start(self, handler: ItemHandler | None) -> None:
        """Start to send webhooks and, with a handler, to run items."""
        self.start_webhooks()
        if handler is not None:
            try:
                await self.work(handler)
            except BaseException:
                await self.close(grace_seconds=0.0)
                raise

    def start_webhooks(self) -> None:
        """Start to send webhooks; on the event loop."""
        if self._webhooks is not None:
            self._webhooks.start(self._database)

    async def work(self, handler: ItemHandler, options: WorkerOptions | None = None) -> None:
        """Start to run items.

        Args:
            handler: processes an item.
            options: options for running items; None: those given to the queue.

        Raises:
            JobError: another queue of this process is running items.
        """
        worker = JobWorker(
            self._jobs, self._objects, handler, options or self._worker_options,
            on_outcome=self._on_outcome, clock=self._clock,
        )  # fmt: skip
        await worker.start()
        self._worker = worker

    @property
    def has_items_running(self) -> bool:
        """Whether items are running in this process."""
        return self._worker is not None and self._worker.has_items_running

    def stop_claiming(self) -> None:
        """Start no more items; running ones continue until `close`."""
        if self._worker is not None:
            self._worker.stop_claiming()

    async def close(self, *, grace_seconds: float) -> None:
        """Wait for running items, requeue those that do not end in time, close the database."""
        deadline = time.monotonic() + grace_seconds
        if self._worker is not None:
            await self._worker.close(grace_seconds=grace_seconds)
            self._worker = None
        if self._webhooks is not None:
            await self._webhooks.close(grace_seconds=max(0.0, deadline - time.monotonic()))
        await asyncio.to_thread(self._jobs.close)

    async def submit(self, new: NewJob) -> Submission:
        """Accept a job with all its items.

        Raises:
            IdempotencyError: the key belongs to a job made from another body.
        """
        now = self._clock()
        kept = self._options.retention_seconds
        if new.retention_seconds is not None:
            kept = min(kept, new.retention_seconds)

        def write(connection: sa.Connection) -> Submission:
            return job_store.submit(connection, new, self._tasks, now=now, retention_seconds=kept)

        try:
            try:
                submitted = await self._database.run(write)
            except exc.IntegrityError:
                # Another request with the same key was faster; its job is found now.
                submitted = await self._database.run(write)
        except (IdempotencyError, StorageFullError):
            await self._delete_uploads(new)
            raise
        if not submitted.is_new:
            await self._delete_uploads(new)
        return submitted

    async def get(self, tenant: str, job_id: str) -> Job:
        """Read a job."""
        return await self._database.run(lambda c: job_queries.load_job(c, job_id, tenant))

    async def refresh(self, known: Sequence[Job]) -> tuple[Job | None, ...]:
        """Read jobs again, with the same few queries however many they are.

        Args:
            known: the jobs as they were read before.

        Returns:
            The jobs in the same order; None for one that is gone. A job that still waits keeps its
            old position in the queue.
        """
        return await self._database.run(lambda c: job_queries.refresh_jobs(c, known))

    async def list_jobs(
        self,
        tenant: str,
        *,
        state: JobState | None = None,
        limit: int = 20,
        after: str | None = None,
    ) -> JobPage:
        """Read a page of a tenant's jobs, latest first.

        Raises:
            OptionError: ``after`` is not one of our cursors.
        """
        return await self._database.run(
            lambda c: job_queries.page_of_jobs(c, tenant, state, limit, after)
        )

    async def list_items(
        self,
        tenant: str,
        job_id: str,
        *,
        state: JobState | None = None,
        limit: int = 100,
        after: str | None = None,
    ) -> ItemPage:
        """Read a page of a job's items by number.

        Raises:
            OptionError: ``after`` is not one of our cursors.
        """
        return await self._database.run(
            lambda c: job_queries.page_of_items(
                c, tenant, job_id, state=state, limit=limit, after=after
            )
        )

    async def list_ended_items(
        self,
        tenant: str,
        job_id: str,
        *,
        after: tuple[float, int],
        until: float | None = None,
        limit: int = 100,
    ) -> tuple[Item, ...]:
        """Read a job's items that succeeded or failed, in the order in which they did.

        Args:
            tenant: the job's owner.
            job_id: the job's id.
            after: the end and number of the last item seen.
            until: latest end of an item to return; None: no limit.
            limit: the maximum number of items to return.
        """
        return await self._database.run(
            lambda c: job_queries.ended_items(
                c, tenant, job_id, after=after, until=until, limit=limit
            )
        )

    async def get_item(self, tenant: str, job_id: str, number: int) -> Item:
        """Read one item."""
        return await self._database.run(lambda c: job_queries.load_item(c, tenant, job_id, number))

    async def cancel(self, tenant: str, job_id: str) -> Job:
        """Cancel the unfinished items; a job that has ended does not change."""
        canceled = await self._database.run(
            lambda c: job_store.cancel(c, tenant, job_id, self._clock())
        )
        await self._database.call(lambda: self._tasks.cancel(canceled), is_deletion=True)
        return await self.get(tenant, job_id)

    async def retry(self, tenant: str, job_id: str) -> Job:
        """Enqueue the failed items again; without any, nothing changes.

        Raises:
            JobConflictError: the job was canceled.
        """
        now = self._clock()

        def write(connection: sa.Connection) -> Job:
            job_store.retry(connection, tenant, job_id, self._tasks, now)
            # In the same transaction: a moment later a worker may have started an item.
            return job_queries.load_job(connection, job_id, tenant)

        return await self._database.run(write)

    async def delete(self, tenant: str, job_id: str) -> None:
        """Remove a job and every trace of it, running or not."""
        await self._database.run(lambda c: job_queries.job_row(c, job_id, tenant))
        # The objects first: if the storage refuses, the job is unchanged, and on a full disk this
        # makes room for the transaction. Objects that a worker writes in between are deleted with
        # the rest.
        await self._objects.delete_prefix(job_prefix(job_id))
        hidden = await self._database.run(
            lambda c: retention.hide(c, job_id, self._clock()), is_deletion=True
        )
        assert hidden is not None
        try:
            await self._sweeper.remove_hidden(job_id, hidden)
        except (JobsUnavailableError, StorageError) as error:
            # For its owner the job is deleted; the sweep removes the rest.
            log_event(_logger, "deletion_delayed", level=logging.WARNING, reason=str(error))

    async def backlog(self, *, max_age_seconds: float = 0.0) -> Backlog:
        """Count the backlog.

        Args:
            max_age_seconds: the age up to which another process's count is used.
        """
        if max_age_seconds <= 0.0 or self._database.is_sqlite:  # SQLite has no other processes
            return await self._database.run(lambda c: backlog.count_backlog(c, self._clock()))
        return await self._database.run(
            lambda c: backlog.recent_backlog(c, self._clock(), max_age_seconds)
        )

    async def sweep(self, now: float | None = None) -> Swept:
        """Remove expired jobs and orphaned objects; repair items that lost their tasks.

        Args:
            now: seconds since 1970; None: the queue's clock.
        """
        return await self._sweeper.sweep(self._clock() if now is None else now)

    @property
    def taken_over(self) -> int:
        """The number of items of dead workers that this process returned to the queue."""
        return 0 if self._worker is None else self._worker.taken_over

    @property
    def faults(self) -> Mapping[str, str | None]:
        """Faults that need an operator, by kind; None for a kind without a fault."""
        return {
            "database": self._database.damage,
            "storage": None if self._jobs.binding is None else self._jobs.binding.fault,
            "sweep": self._sweeper.fault,
        }

    async def _delete_uploads(self, new: NewJob) -> None:
        """Delete the uploads of a rejected submission.

        Call it only after a refusal: after any other error the commit may have succeeded.
        """
        with contextlib.suppress(StorageError):  # else the sweep finds them
            await self._objects.delete_prefix(job_prefix(new.job_id))
