"""The sweep: removes expired jobs and orphaned objects, and repairs items that lost their tasks.

Any number of processes may call it; one at a time sweeps. If that process dies, the next sweep
finds the rest.
"""

import dataclasses
import logging
import random

import sqlalchemy as sa

from service.errors import StorageFullError
from service.jobs.job import UNFINISHED, ItemRun, JobState, job_prefix
from service.jobs.running.orphans import remove_orphans
from service.jobs.store import item_store, retention
from service.jobs.store.job_database import JobDatabase
from service.observability.logging import log_event
from service.storage.objects import Objects

_CHUNK = 100
_MAX_REPAIRED = 1_000
_logger = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class SweepOptions:
    """Options of a sweep."""

    task_check_seconds: float = 60.0
    """Age from which a started or submitted item must have a task."""
    checked_items: int = 1_000
    """The number of queued items, and of started ones, whose tasks one sweep checks."""
    orphan_seconds: float = retention.ORPHAN_SECONDS
    """The age from which objects of no job are removed."""
    orphan_interval_seconds: float = 6 * 3_600.0
    """The time between two listings of the whole storage; the first falls within one interval."""
    temporary_prefixes: tuple[str, ...] = ("tmp",)
    """The prefixes under which the storage keeps what is being written."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Swept:
    """The counts of a sweep."""

    jobs: int
    """Expired or deleted jobs, removed completely."""
    objects: int
    orphans: int
    """Objects that belonged to no job."""
    mended: int
    """Number of items and jobs that were repaired, because their state did not match their
    tasks."""


class Sweeper:
    """Sweeps one database and its storage."""

    def __init__(
        self,
        jobs: JobDatabase,
        objects: Objects,
        options: SweepOptions,
        *,
        now: float,
    ) -> None:
        """Prepare the sweeper.

        Args:
            jobs: the jobs' database and task queue.
            objects: the storage of recordings and results.
            options: the options of each sweep.
            now: seconds since 1970.
        """
        self._database = jobs.database
        self._tasks = jobs.tasks
        self._objects = objects
        self._options = options
        self._binding = jobs.binding
        self.fault: str | None = None
        """The reason why the last search kept orphans."""
        # Random, to spread the processes: a listing of everything may take minutes.
        self._orphans_at = now + random.uniform(  # noqa: S311 (spreads processes)
            0.0, options.orphan_interval_seconds
        )
        self._checked_up_to: dict[JobState, tuple[str, int]] = {}
        """Job and number of the last item whose task was checked, by the item's state."""

    async def sweep(self, now: float) -> Swept:
        """Sweep, if this process holds the lock for it.

        Args:
            now: seconds since 1970.
        """
        if not await self._database.acquire_sweep_lock():
            return Swept(jobs=0, objects=0, orphans=0, mended=0)
        try:
            return await self._sweep(now)
        except Exception:
            await self._database.release_sweep_lock()
            raise

    async def remove_hidden(self, job_id: str, hidden: retention.Hidden) -> int:
        """Remove a job that `retention.hide` has hidden; return the number of its objects."""
        await self._database.call(lambda: self._tasks.cancel(hidden.canceled), is_deletion=True)
        if hidden.is_processing:
            # The rows, and what the worker still writes, are deleted when it has stopped.
            return await self._objects.delete_prefix(job_prefix(job_id))
        return await self._purge(job_id)

    async def _purge(self, job_id: str) -> int:
        count = await self._objects.delete_prefix(job_prefix(job_id))
        item_runs = await self._database.run(lambda c: retention.all_runs(c, job_id))
        await self._database.call(lambda: self._tasks.delete(item_runs), is_deletion=True)
        await self._database.run(lambda c: retention.remove_rows(c, job_id), is_deletion=True)
        return count

    async def _sweep(self, now: float) -> Swept:
        jobs = objects = 0
        while found := await self._database.run(lambda c: retention.expired(c, now, _CHUNK)):
            for job_id in found:
                expired = await self.hide_expired(job_id, now)
                if expired is not None:
                    objects += await self.remove_hidden(job_id, expired)
                    jobs += 1
        while found := await self._database.run(lambda c: retention.hidden(c, now, _CHUNK)):
            for job_id in found:
                objects += await self._purge(job_id)
                jobs += 1
        mended = await self._repair(now)
        orphans = 0
        if await self._is_bound() and self._is_orphan_time(now):
            orphans = await self._remove_orphans(now)
            self._orphans_at = now + self._options.orphan_interval_seconds
        await self._database.forget_deleted()
        swept = Swept(jobs=jobs, objects=objects, orphans=orphans, mended=mended)
        if jobs or orphans or mended:
            log_event(_logger, "jobs_swept", **dataclasses.asdict(swept))
        return swept

    async def hide_expired(self, job_id: str, now: float) -> retention.Hidden | None:
        """Hide a job if it has expired; return nothing if its owner has retried it meanwhile."""

        def hide(connection: sa.Connection) -> retention.Hidden | None:
            return retention.hide(connection, job_id, now, only_expired=True)

        try:
            return await self._database.run(hide, is_deletion=True)
        except StorageFullError:
            # Delete the objects first, which makes room. The owner cannot retry the job meanwhile,
            # because that would be a write too.
            await self._objects.delete_prefix(job_prefix(job_id))
            return await self._database.run(hide)

    async def _repair(self, now: float) -> int:
        count = 0
        for state in UNFINISHED:  # separately: few items are running, and millions may wait
            count += await self._repair_items(state, now)
        for item_run, tenant in await self._database.run(
            lambda c: retention.delayed_too_long(c, now, _MAX_REPAIRED)
        ):
            if await self._enqueue_again(item_run, tenant, now):
                canceled = [item_run]
                await self._database.call(
                    lambda canceled=canceled: self._tasks.cancel(canceled), is_deletion=True
                )
                count += 1
        for job_id in await self._database.run(
            lambda c: retention.unfinished_jobs(c, _MAX_REPAIRED)
        ):
            count += await self._finish(job_id, now)
        return count

    async def _repair_items(self, state: JobState, now: float) -> int:
        """Check the tasks of the next items of a state, from where the last sweep ended."""
        before = now - self._options.task_check_seconds
        after = self._checked_up_to.get(state)
        found = await self._database.run(
            lambda c: retention.unfinished_before(
                c, state, before, after=after, limit=self._options.checked_items
            )
        )
        tenants = dict(found)
        lost = await self._database.call(
            lambda: self._tasks.find_lost(list(tenants)), is_deletion=True
        )
        count = 0
        for item_run in lost:
            count += await self._enqueue_again(item_run, tenants[item_run], now)
        if len(found) < self._options.checked_items:
            self._checked_up_to.pop(state, None)  # from the first again
        else:
            last = found[-1][0]
            self._checked_up_to[state] = last.job_id, last.number
        return count

    async def _enqueue_again(self, item_run: ItemRun, tenant: str, now: float) -> bool:
        return await self._database.run(
            lambda c: retention.enqueue_again(c, item_run, tenant, self._tasks, now)
        )

    async def _finish(self, job_id: str, now: float) -> bool:
        return await self._database.run(lambda c: item_store.finish_job(c, job_id, now))

    def _is_orphan_time(self, now: float) -> bool:
        # A time more than one interval ahead is due as well: the clock was set back.
        ahead = self._orphans_at - now
        return ahead <= 0 or ahead > self._options.orphan_interval_seconds

    async def _is_bound(self) -> bool:
        """Check again whether the storage belongs to the database."""
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
        self.fault = found.fault
        if found.fault is not None:
            log_event(_logger, "orphans_kept", level=logging.ERROR, reason=found.fault)
        return found.removed

    async def _existing(self, job_ids: list[str]) -> set[str]:
        return await self._database.run(lambda c: retention.existing(c, job_ids))
