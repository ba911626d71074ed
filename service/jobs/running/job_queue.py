"""`JobQueue` on DBOS: on SQLite inside the server's own process, or on Postgres with any number.

    job_store.py   a job, its items and their orders, in one transaction
    job_queries.py      jobs, items, pages, progress
    item_store.py       what happens to an item
    retention.py      retention, deletion, orphans
    dbos_orders.py, dbos_worker.py, takeover.py    the engine

A process without a handler (an API server beside workers) submits and reads; one with a handler
works as well. On SQLite these are the same process.
"""

import asyncio
import contextlib
import dataclasses
import logging
import random
import time
from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

import sqlalchemy as sa
from sqlalchemy import exc

from service.database.database import Database, unreachable
from service.database.database_faults import DatabaseFault, find_fault
from service.errors import (
    IdempotencyError,
    JobsUnavailableError,
    StorageError,
    StorageFullError,
)
from service.jobs.dbos_tasks import Order, WorkOrders
from service.jobs.job import UNFINISHED, Item, ItemHandler, Job, JobState, NewJob, job_prefix
from service.jobs.queue import Backlog, ItemPage, JobObjects, JobPage, Submission, Swept
from service.jobs.running.job_worker import Worker, WorkerOptions
from service.jobs.running.orphans import remove_orphans
from service.jobs.store import item_store, job_queries, job_store, retention, tables
from service.jobs.store.storage_binding import StorageBinding
from service.observability.logging import log_event
from service.webhooks.sender import WebhookSender

_SWEEP_CHUNK = 100
_CHECKED_ITEMS = 1_000
_OPENING_PAUSE_SECONDS = 1.0
_logger = logging.getLogger(__name__)
T = TypeVar("T")


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class QueueOptions:
    """How a deployment keeps jobs."""

    retention_seconds: float = 7 * 24 * 3_600.0
    """Kept for so long from their end, unless their owner asked for less."""
    long_begun_seconds: float = 60.0
    """An item begun, or submitted, so long ago is looked up in the engine by the sweep."""
    checked_items: int = 1_000
    """Of those that wait, and of those begun, so many are looked up in one sweep."""
    orphan_seconds: float = retention.ORPHAN_SECONDS
    """Objects of no job are kept for so long."""
    orphan_interval_seconds: float = 6 * 3_600.0
    """Between two listings of the whole storage; the first is at some time within the first one."""
    temporary_prefixes: tuple[str, ...] = ("tmp",)
    """Where the storage keeps what is being written."""


class DbosQueue:
    """The queue of one process."""

    def __init__(
        self,
        url: str,
        objects: JobObjects,
        *,
        options: QueueOptions | None = None,
        worker: WorkerOptions | None = None,
        on_outcome: Callable[[str], None] | None = None,
        webhooks: WebhookSender | None = None,
        binding: StorageBinding | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Prepares; `launch` opens the database.

        Args:
            url: ``sqlite:///path`` or ``postgresql://...``.
            objects: Where the jobs' recordings and results are.
            options: How jobs are kept.
            worker: How items are worked on.
            on_outcome: Told how each try of an item by this process ended: ``succeeded``,
                ``failed``, ``retried`` or ``canceled``.
            webhooks: Tells of jobs that have ended, until `close`; absent: other processes do.
            binding: Knows whether ``objects`` are the database's; absent: they are.
            clock: Seconds since 1970.
        """
        self._url = url
        self._objects = objects
        self._options = options or QueueOptions()
        self._worker_options = worker or WorkerOptions()
        self._on_outcome = on_outcome
        self._webhooks = webhooks
        self._binding = binding
        self._sweep_fault: str | None = None
        self._clock = clock
        self._opened: tuple[Database, WorkOrders] | None = None
        self._worker: Worker | None = None
        # Not at once, and not when the others do: a listing of everything may take minutes.
        self._orphans_at = clock() + random.uniform(  # noqa: S311 (spreads processes)
            0.0, self._options.orphan_interval_seconds
        )
        self._looked_up: dict[JobState, tuple[str, int]] = {}
        """Job and number of the item at which the last sweep stopped to look; from there on."""

    async def launch(self, handler: ItemHandler | None) -> None:
        """See `JobQueue.launch`."""
        await asyncio.to_thread(self.open)
        self.start_webhooks()
        if handler is not None:
            try:
                await self.work(handler)
            except BaseException:
                await self.close(grace_seconds=0.0)
                raise

    def open(self, *, patience_seconds: float = 0.0) -> None:
        """Opens the database; jobs can be submitted and read from then on. Blocks.

        Args:
            patience_seconds: A database that cannot be reached is tried for so long.

        Raises:
            DatabaseInUseError: SQLite, and another process has it.
            JobError: The URL names no database that can be used, or the database is damaged.
            JobsUnavailableError: It cannot be reached.
            StorageMismatchError: The storage is not the database's.
        """
        deadline = time.monotonic() + patience_seconds
        logged: str | None = None
        while self._opened is None:
            database = Database(self._url)
            try:
                database.create_tables(tables.prepare_tables)
                if self._binding is not None:
                    self._binding.bind_if_reachable(database)
                self._opened = database, WorkOrders(database)
            except exc.DBAPIError as error:
                is_full = find_fault(error) is DatabaseFault.FULL
                may_go_on = is_full and database.release_reserve()
                refused = database.opening_refusal(error)
                database.close()
                if may_go_on:
                    continue
                if refused is not None:
                    raise refused from error
                reason = str(error.orig).partition("\n")[0]
                if reason != logged:
                    log_event(_logger, "database_unreachable", level=logging.WARNING, reason=reason)
                    logged = reason
                if time.monotonic() >= deadline:
                    raise unreachable(database.name, reason) from error
                time.sleep(_OPENING_PAUSE_SECONDS)
            except BaseException:
                database.close()
                raise

    def start_webhooks(self) -> None:
        """Begins to tell of jobs that have ended, in a queue that is open; on the event loop."""
        if self._webhooks is not None:
            self._webhooks.start(self._database)

    async def work(self, handler: ItemHandler, options: WorkerOptions | None = None) -> None:
        """Begins to work on items, in a queue that is open.

        Args:
            handler: Does an item.
            options: How; absent: those of the queue.

        Raises:
            JobError: Something else in this process does.
        """
        database, orders = self._database, self._orders
        worker = Worker(
            database, orders, self._objects, handler, options or self._worker_options,
            on_outcome=self._on_outcome, clock=self._clock,
        )  # fmt: skip
        await worker.launch()
        self._worker = worker

    @property
    def has_items_running(self) -> bool:
        """Whether items are being worked on in this process."""
        return self._worker is not None and self._worker.has_items_running

    def take_no_more(self) -> None:
        """Begins no more items; those begun go on, until `close`."""
        if self._worker is not None:
            self._worker.take_no_more()

    async def close(self, *, grace_seconds: float) -> None:
        """See `JobQueue.close`."""
        deadline = time.monotonic() + grace_seconds
        if self._worker is not None:
            await self._worker.close(grace_seconds=grace_seconds)
            self._worker = None
        if self._webhooks is not None:
            await self._webhooks.close(grace_seconds=max(0.0, deadline - time.monotonic()))
        if self._opened is not None:
            database, orders = self._opened
            self._opened = None
            await asyncio.to_thread(orders.close)
            await asyncio.to_thread(database.close)

    async def submit(self, new: NewJob) -> Submission:
        """See `JobQueue.submit`."""
        now = self._clock()
        kept = self._options.retention_seconds
        if new.retention_seconds is not None:
            kept = min(kept, new.retention_seconds)

        def write(connection: sa.Connection) -> Submission:
            return job_store.submit(connection, new, self._orders, now=now, retention_seconds=kept)

        try:
            try:
                submitted = await self._database.run(write)
            except exc.IntegrityError:
                # The same key, at the same moment: the other was first, and is found now.
                submitted = await self._database.run(write)
        except (IdempotencyError, StorageFullError):  # of both it is certain that nothing was kept
            await self._forget_uploads(new)
            raise
        if not submitted.is_new:
            await self._forget_uploads(new)
        return submitted

    async def get(self, tenant: str, job_id: str) -> Job:
        """See `JobQueue.get`."""
        return await self._database.run(lambda c: job_queries.load_job(c, job_id, tenant))

    async def refresh(self, known: Sequence[Job]) -> tuple[Job | None, ...]:
        """See `JobQueue.refresh`."""
        return await self._database.run(lambda c: job_queries.refresh_jobs(c, known))

    async def list_jobs(
        self,
        tenant: str,
        *,
        state: JobState | None = None,
        limit: int = 20,
        after: str | None = None,
    ) -> JobPage:
        """See `JobQueue.list_jobs`."""
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
        """See `JobQueue.list_items`."""
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
        """See `JobQueue.list_ended_items`."""
        return await self._database.run(
            lambda c: job_queries.ended_items(
                c, tenant, job_id, after=after, until=until, limit=limit
            )
        )

    async def get_item(self, tenant: str, job_id: str, number: int) -> Item:
        """See `JobQueue.get_item`."""
        return await self._database.run(lambda c: job_queries.load_item(c, tenant, job_id, number))

    async def cancel(self, tenant: str, job_id: str) -> Job:
        """See `JobQueue.cancel`."""
        withdrawn = await self._database.run(
            lambda c: job_store.cancel(c, tenant, job_id, self._clock())
        )
        await self._tell(self._orders.withdraw, withdrawn)
        return await self.get(tenant, job_id)

    async def retry(self, tenant: str, job_id: str) -> Job:
        """See `JobQueue.retry`."""
        now = self._clock()

        def write(connection: sa.Connection) -> Job:
            job_store.retry(connection, tenant, job_id, self._orders, now)
            # In here: a moment later a worker may have begun.
            return job_queries.load_job(connection, job_id, tenant)

        return await self._database.run(write)

    async def delete(self, tenant: str, job_id: str) -> None:
        """See `JobQueue.delete`."""
        await self._database.run(lambda c: job_queries.job_row(c, job_id, tenant))
        # First: a storage that refuses leaves the job as it was, and a full disk gets room for the
        # note of it. What a worker writes in between goes with the rest.
        await self._objects.delete_prefix(job_prefix(job_id))
        hidden = await self._database.run(
            lambda c: retention.hide(c, job_id, self._clock()), is_deletion=True
        )
        assert hidden is not None
        try:
            await self._remove(job_id, hidden)
        except (JobsUnavailableError, StorageError) as error:
            # It is deleted, as far as its owner can see; the sweep removes the rest.
            log_event(_logger, "deletion_put_off", level=logging.WARNING, reason=str(error))

    async def backlog(self, *, max_age_seconds: float = 0.0) -> Backlog:
        """See `JobQueue.backlog`."""
        if max_age_seconds <= 0.0 or self._database.is_sqlite:  # SQLite has no other processes
            return await self._database.run(lambda c: job_queries.count_backlog(c, self._clock()))
        return await self._database.run(
            lambda c: job_queries.recent_backlog(c, self._clock(), max_age_seconds)
        )

    async def sweep(self) -> Swept:
        """See `JobQueue.sweep`."""
        if not await self._database.may_sweep():
            return Swept(jobs=0, objects=0, orphans=0, mended=0)
        try:
            return await self._sweep(self._clock())
        except Exception:
            await self._database.let_others_sweep()
            raise

    @property
    def taken_over(self) -> int:
        """Items of dead workers that this process gave back to the queue."""
        return 0 if self._worker is None else self._worker.taken_over

    @property
    def faults(self) -> Mapping[str, str | None]:
        """What is wrong with the jobs and will not pass by itself, by kind; absent: nothing."""
        return {
            "database": None if self._opened is None else self._database.damage,
            "storage": None if self._binding is None else self._binding.fault,
            "sweep": self._sweep_fault,
        }

    @property
    def _database(self) -> Database:
        assert self._opened is not None, "launch() first"
        return self._opened[0]

    @property
    def _orders(self) -> WorkOrders:
        assert self._opened is not None, "launch() first"
        return self._opened[1]

    async def _tell(self, ask: Callable[[list[Order]], T], orders: list[Order]) -> T:
        """Does something with the engine's orders, in a thread."""
        return await self._database.call(lambda: ask(orders), is_deletion=True)

    async def _forget_uploads(self, new: NewJob) -> None:
        """Of a job that there will not be. After any other error the job may be there after all."""
        with contextlib.suppress(StorageError):  # else the sweep finds them
            await self._objects.delete_prefix(job_prefix(new.job_id))

    async def _remove(self, job_id: str, hidden: retention.Hidden) -> int:
        """Removes what `retention.hide` has hidden; gives the number of objects."""
        await self._tell(self._orders.withdraw, hidden.withdrawn)
        if hidden.is_at_work:
            # Its rows, and what the worker may write yet, go when it has let go.
            return await self._objects.delete_prefix(job_prefix(job_id))
        return await self._purge(job_id)

    async def _purge(self, job_id: str) -> int:
        count = await self._objects.delete_prefix(job_prefix(job_id))
        placed = await self._database.run(lambda c: retention.all_orders(c, job_id))
        await self._tell(self._orders.remove, placed)
        await self._database.run(lambda c: retention.remove_rows(c, job_id), is_deletion=True)
        return count

    async def _sweep(self, now: float) -> Swept:
        jobs = objects = 0
        while found := await self._database.run(lambda c: retention.expired(c, now, _SWEEP_CHUNK)):
            for job_id in found:
                expired = await self._hide_expired(job_id, now)
                if expired is not None:
                    objects += await self._remove(job_id, expired)
                    jobs += 1
        while found := await self._database.run(lambda c: retention.hidden(c, now, _SWEEP_CHUNK)):
            for job_id in found:
                objects += await self._purge(job_id)
                jobs += 1
        mended = await self._mend(now)
        orphans = 0
        if await self._is_bound() and self._is_time_for_orphans(now):
            orphans = await self._remove_orphans(now)
            self._orphans_at = now + self._options.orphan_interval_seconds
        await self._database.forget_deleted()
        swept = Swept(jobs=jobs, objects=objects, orphans=orphans, mended=mended)
        if jobs or orphans or mended:
            log_event(_logger, "jobs_swept", **dataclasses.asdict(swept))
        return swept

    async def _hide_expired(self, job_id: str, now: float) -> retention.Hidden | None:
        def hide(connection: sa.Connection) -> retention.Hidden | None:
            return retention.hide(connection, job_id, now, only_expired=True)

        try:
            return await self._database.run(hide, is_deletion=True)
        except StorageFullError:
            # Its objects first, which makes room. Its owner cannot retry it meanwhile: that would
            # have to be written too.
            await self._objects.delete_prefix(job_prefix(job_id))
            return await self._database.run(hide)

    async def _mend(self, now: float) -> int:
        mended = 0
        for state in UNFINISHED:  # each at its own pace: few are begun, and millions may wait
            mended += await self._mend_items(state, now)
        for order, tenant in await self._database.run(
            lambda c: retention.put_off_too_long(c, now, _CHECKED_ITEMS)
        ):
            if await self._place_again(order, tenant, now):
                await self._tell(self._orders.withdraw, [order])
                mended += 1
        for job_id in await self._database.run(
            lambda c: retention.unfinished_jobs(c, _CHECKED_ITEMS)
        ):
            mended += await self._finish(job_id, now)
        return mended

    async def _mend_items(self, state: JobState, now: float) -> int:
        """Looks up the next items of a state in the engine, from where the last sweep ended."""
        before = now - self._options.long_begun_seconds
        after = self._looked_up.get(state)
        found = await self._database.run(
            lambda c: retention.unfinished_before(
                c, state, before, after=after, limit=self._options.checked_items
            )
        )
        tenants = dict(found)
        mended = 0
        for order in await self._tell(self._orders.lost, list(tenants)):
            mended += await self._place_again(order, tenants[order], now)
        if len(found) < self._options.checked_items:
            self._looked_up.pop(state, None)  # from the first again
        else:
            last = found[-1][0]
            self._looked_up[state] = last.job_id, last.number
        return mended

    async def _place_again(self, order: Order, tenant: str, now: float) -> bool:
        return await self._database.run(
            lambda c: retention.place_again(c, order, tenant, self._orders, now)
        )

    async def _finish(self, job_id: str, now: float) -> bool:
        return await self._database.run(lambda c: item_store.finish_job(c, job_id, now))

    def _is_time_for_orphans(self, now: float) -> bool:
        # Later than one interval ahead is due as well: the clock was set back.
        ahead = self._orphans_at - now
        return ahead <= 0 or ahead > self._options.orphan_interval_seconds

    async def _is_bound(self) -> bool:
        """Says whether the storage is known to be the database's, having asked it again."""
        binding = self._binding
        return binding is None or await self._database.call(
            lambda: binding.is_bound(self._database)
        )

    async def _remove_orphans(self, now: float) -> int:
        found = await remove_orphans(
            self._objects,
            self._existing,
            before=now - self._options.orphan_seconds,
            temporary_prefixes=self._options.temporary_prefixes,
            is_adopted=self._binding is not None and self._binding.is_adopted,
        )
        self._sweep_fault = found.fault
        if found.fault is not None:
            log_event(_logger, "orphans_kept", level=logging.ERROR, reason=found.fault)
        return found.removed

    async def _existing(self, job_ids: list[str]) -> set[str]:
        return await self._database.run(lambda c: retention.existing(c, job_ids))
