"""Runs the items of jobs in this process: takes tasks, calls the handler, records the result.

    the executor takes a task            in DBOS's threads and event loop
    -> item_store.begin                  queued -> processing, unless it was canceled meanwhile
    -> handler(item, job, hooks)         on our event loop, where the transcription engine is
       hooks.on_length                   the recording is open: its length is recorded
       hooks.hold_device                 the recording is local: a permit for the device, limited
                                         for each tenant; together with others, or alone in
                                         quarantine
    -> item_store.succeed | fail | put_back   and the job ends with its last item

Every outcome of an item is recorded in our tables, so every task succeeds for DBOS. DBOS's part is
that a task whose process died is started again. The task of a canceled item is interrupted within a
second or so. DBOS keeps its state in a global, so there is one `JobWorker` in a process.
"""

import asyncio
import contextlib
import dataclasses
import logging
import time
from collections.abc import AsyncGenerator, Callable
from typing import ClassVar

import sqlalchemy as sa
from sqlalchemy import exc

from service.errors import ItemError, JobError, JobsUnavailableError
from service.jobs import dbos_tasks
from service.jobs.job import (
    Failure,
    ItemHandler,
    ItemHooks,
    ItemRun,
    JobState,
    Outcome,
    result_key,
)
from service.jobs.running.device_limiter import DeviceLimiter
from service.jobs.running.read_write_lock import ReadWriteLock
from service.jobs.running.worker_lease import WATCH_SECONDS, WorkerLease
from service.jobs.store import item_store, retention
from service.jobs.store.job_database import JobDatabase
from service.observability.logging import log_event
from service.storage.objects import Objects

_MIN_FETCHES = 4
_SINGLE_EXECUTOR = "local"
"""The name of the one process of an SQLite database, which continues the tasks of its
predecessor."""
_logger = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class WorkerOptions:
    """Options for the items that a process runs."""

    concurrency: int = 8
    """Items at once: more than fill the device, because some are being read or written."""
    fetches: int | None = None
    """Items at once whose recordings are fetched from elsewhere, before they count towards
    `concurrency`. None: four times `fetches_per_tenant`."""
    fetches_per_tenant: int | None = None
    """Fetches of one tenant at once. None: `tenant_concurrency`, and at least four."""
    polling_seconds: float = 0.2
    """The time between two queries for tasks."""
    most_tries: int = 5
    """Attempts of an item that fails for temporary reasons."""
    retry_delays_seconds: tuple[float, ...] = (2.0, 10.0, 60.0, 300.0)
    """The delays before the second attempt, the third, ..."""
    watch_seconds: float = WATCH_SECONDS
    """The time between two checks for dead workers."""
    stalled_seconds: float = 10.0
    """The time between two checks for own tasks that DBOS has started and lost."""

    @property
    def tenant_concurrency(self) -> int:
        """Items of one tenant at once: a quarter of the permits is reserved for other tenants.

        So a short recording does not wait for the end of another tenant's long ones.
        """
        return self.concurrency - self.concurrency // 4

    @property
    def tenant_fetches(self) -> int:
        """Fetches of one tenant at once."""
        return self.fetches_per_tenant or max(self.tenant_concurrency, _MIN_FETCHES)

    @property
    def all_fetches(self) -> int:
        """Fetches of all tenants at once."""
        return self.fetches or 4 * self.tenant_fetches


class JobWorker:
    """The worker of one process."""

    _is_running: ClassVar[bool] = False

    def __init__(
        self,
        jobs: JobDatabase,
        objects: Objects,
        handler: ItemHandler,
        options: WorkerOptions,
        *,
        on_outcome: Callable[[str], None] | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Prepare the worker; `start` starts it.

        Args:
            jobs: the jobs' database and task queue.
            objects: the storage, from which unwanted results are removed.
            handler: processes an item.
            options: options for running items.
            on_outcome: called with the outcome of each attempt at an item.
            clock: returns seconds since 1970.
        """
        self._database = jobs.database
        self._tasks = jobs.tasks
        self._objects = objects
        self._handler = handler
        self._options = options
        self._on_outcome = on_outcome or _ignore_outcome
        self._clock = clock
        self._quarantine = ReadWriteLock()
        self._device = DeviceLimiter(
            limit=options.concurrency, tenant_limit=options.tenant_concurrency
        )
        self._running: set[asyncio.Task[None]] = set()
        self._claimed: set[ItemRun] = set()
        self._on_device: set[ItemRun] = set()
        self._stall_check: asyncio.Task[None] | None = None
        self._is_closing = False
        self._has_ended = asyncio.Event()
        self._lease: WorkerLease | None = None
        self.taken_over = 0
        """The number of items of dead workers that this one returned to the queue."""

    async def start(self) -> None:
        """Start to take tasks; those that this worker's predecessor had started come first."""
        if JobWorker._is_running:
            raise JobError("this process already runs the jobs of another database; expected one")
        loop = asyncio.get_running_loop()
        JobWorker._is_running = True
        starting = asyncio.create_task(asyncio.to_thread(self._start_executor, loop))
        try:
            await asyncio.shield(starting)
            self._stall_check = asyncio.create_task(self._repair_stalled())
        except BaseException:
            # A cancellation does not end the thread, and an executor that is still starting cannot
            # be stopped.
            self.stop_claiming()
            await asyncio.gather(starting, return_exceptions=True)
            await self.close(grace_seconds=0.0)
            raise

    @property
    def has_items_running(self) -> bool:
        """Whether items are running."""
        return bool(self._running)

    def stop_claiming(self) -> None:
        """Start no more tasks."""
        self._is_closing = True
        if self._stall_check is not None:
            self._stall_check.cancel()

    async def close(self, *, grace_seconds: float) -> None:
        """Take no more tasks, wait for running items, and return the rest to the queue."""
        deadline = time.monotonic() + grace_seconds
        self.stop_claiming()
        if self._stall_check is not None:
            await asyncio.gather(self._stall_check, return_exceptions=True)
        while self._running and time.monotonic() < deadline:
            await asyncio.wait(list(self._running), timeout=deadline - time.monotonic())
        running = list(self._running)
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
        await self._stop_executor()

    async def _stop_executor(self) -> None:
        self._has_ended.set()
        try:
            await asyncio.to_thread(dbos_tasks.stop_executor)
        finally:
            JobWorker._is_running = False
            if self._lease is not None:
                await asyncio.to_thread(self._lease.release)

    @property
    def _executor(self) -> str:
        """The name under which DBOS records this worker's tasks."""
        return self._lease.executor if self._lease else _SINGLE_EXECUTOR

    def _start_executor(self, loop: asyncio.AbstractEventLoop) -> None:
        options = self._options
        if not self._database.is_sqlite:
            self._lease = WorkerLease(self._database.engine)
        dbos_tasks.start_executor(
            self._database,
            self._run,
            name=self._executor,
            limits=dbos_tasks.ExecutorLimits(
                items=options.concurrency,
                items_per_tenant=options.tenant_concurrency,
                fetches=options.all_fetches,
                fetches_per_tenant=options.tenant_fetches,
                polling_seconds=options.polling_seconds,
            ),
            loop=loop,
        )
        if self._lease is not None:
            self._lease.watch(
                self._tasks,
                watch_seconds=options.watch_seconds,
                on_takeover=self._count_taken_over,
            )

    def _count_taken_over(self, count: int) -> None:
        self.taken_over += count

    async def _run(self, item_run: ItemRun) -> None:
        task = asyncio.current_task()
        assert task is not None
        if self._is_closing:
            await self._decline()
        self._running.add(task)
        self._claimed.add(item_run)
        try:
            is_quarantined = await self._database.run(
                lambda c: item_store.is_quarantined(c, item_run), wait_seconds=None
            )
            await self._begin_and_process(item_run, is_quarantined=is_quarantined)
        finally:
            self._running.discard(task)
            self._claimed.discard(item_run)
            self._on_device.discard(item_run)

    async def _decline(self) -> None:
        """Hold a task, so that no other is taken, until the executor stops.

        It remains started in DBOS, so that the next process or another worker continues it.
        """
        await self._has_ended.wait()
        raise asyncio.CancelledError

    async def _repair_stalled(self) -> None:
        """Enqueue again the tasks that DBOS has started in this worker's name and lost.

        That happens when the database becomes unreachable between DBOS's claim of a task and its
        start: the task then belongs to a live worker, so no other takes it over. A task must be
        missing here twice in a row; if it runs after all, its item is processed twice and counted
        once.
        """
        suspects: set[ItemRun] = set()
        while True:
            await asyncio.sleep(self._options.stalled_seconds)
            try:
                idle = await asyncio.to_thread(self._tasks.pending_of, self._executor)
                idle -= self._claimed
                for item_run in idle & suspects:
                    await self._enqueue_again(item_run)
            except (exc.DBAPIError, exc.TimeoutError, JobsUnavailableError) as error:
                log_event(_logger, "tasks_unreachable", level=logging.WARNING, reason=str(error))
                continue
            suspects = idle

    async def _enqueue_again(self, item_run: ItemRun) -> None:
        def enqueue(connection: sa.Connection) -> bool:
            tenant = retention.tenant_of(connection, item_run.job_id)
            return tenant is not None and retention.enqueue_again(
                connection, item_run, tenant, self._tasks, self._clock()
            )

        is_enqueued = await self._database.run(enqueue)
        await asyncio.to_thread(self._tasks.cancel, [item_run])
        if is_enqueued:
            log_event(_logger, "item_stalled", level=logging.WARNING, item=item_run.task_id)

    @contextlib.asynccontextmanager
    async def _hold_device(
        self, item_run: ItemRun, tenant: str, *, is_quarantined: bool
    ) -> AsyncGenerator[None]:
        """Hold a permit to use the device, and record that the work on the recording begins."""
        lock = self._quarantine
        async with self._device.hold(tenant), lock.exclusive() if is_quarantined else lock.shared():
            await self._database.run(
                lambda c: item_store.enter_device(c, item_run), wait_seconds=None
            )
            self._on_device.add(item_run)
            yield

    async def _begin_and_process(self, item_run: ItemRun, *, is_quarantined: bool) -> None:
        if self._is_closing:  # since the database was queried
            await self._decline()
        begun = await self._database.run(
            lambda c: item_store.begin(c, item_run, self._tasks, self._clock()), wait_seconds=None
        )
        if begun is not None:
            hooks = ItemHooks(
                on_length=lambda seconds: self._record_length(item_run, seconds),
                hold_device=lambda: self._hold_device(
                    item_run, begun.job.tenant, is_quarantined=is_quarantined
                ),
            )
            try:
                outcome = await self._handler(begun.item, begun.job, hooks)
            except asyncio.CancelledError:
                # Canceled by its owner, in which case this changes nothing, or the process ends.
                self._on_outcome("retried" if self._is_closing else "canceled")
                await asyncio.shield(self._release(item_run))
                raise
            except ItemError as error:
                await self._record_failure(item_run, error)
            except Exception as error:  # noqa: BLE001 (the outer edge: logged, and stored with the item)
                log_event(
                    _logger, "item_failed", level=logging.ERROR, error=error, item=item_run.task_id
                )
                await self._record_failure(
                    item_run,
                    ItemError("the worker failed; its log says why", code="internal_error",
                              is_transient=True),
                )  # fmt: skip
            else:
                await self._record_success(item_run, outcome)
        await self._database.run(
            lambda c: item_store.finish_job(c, item_run.job_id, self._clock()), wait_seconds=None
        )

    async def _record_length(self, item_run: ItemRun, audio_seconds: float) -> None:
        with contextlib.suppress(JobsUnavailableError):  # its success records it again
            await self._database.run(lambda c: item_store.set_length(c, item_run, audio_seconds))

    async def _record_success(self, item_run: ItemRun, outcome: Outcome) -> None:
        counted = await self._database.run(
            lambda c: item_store.succeed(c, item_run, outcome, self._clock()), wait_seconds=None
        )
        self._on_outcome("succeeded" if counted else "canceled")
        if not counted and await self._is_unwanted(item_run):
            await self._objects.delete(result_key(item_run.job_id, item_run.number))

    async def _is_unwanted(self, item_run: ItemRun) -> bool:
        """Return whether the item was canceled or deleted while its result was written."""
        state = await self._database.run(
            lambda c: item_store.item_state(c, item_run), wait_seconds=None
        )
        return state is None or state is JobState.CANCELED

    async def _record_failure(self, item_run: ItemRun, error: ItemError) -> None:
        failure = Failure(code=error.code, message=_storable(str(error)))
        if not error.is_transient:
            await self._database.run(
                lambda c: item_store.fail(c, item_run, failure, self._clock()), wait_seconds=None
            )
            self._on_outcome("failed")
            return
        state = await self._database.run(
            lambda c: item_store.put_back(
                c, item_run, failure, self._tasks,
                most_tries=self._options.most_tries,
                delays_seconds=self._options.retry_delays_seconds,
                now=self._clock(),
            ),
            wait_seconds=None,
        )  # fmt: skip
        self._on_outcome("retried" if state is JobState.QUEUED else state.value)
        log_event(
            _logger, "item_put_back", level=logging.WARNING,
            item=item_run.task_id, code=error.code, state=state.value,
        )  # fmt: skip

    async def _release(self, item_run: ItemRun) -> None:
        with contextlib.suppress(Exception):  # the process ends, and the item is recovered later
            await self._database.run(
                lambda c: item_store.release(
                    c, item_run, self._clock(), has_entered=item_run in self._on_device
                ),
                wait_seconds=1.0,
            )


def _ignore_outcome(outcome: str) -> None:
    del outcome


def _storable(text: str) -> str:
    """Replace what database text cannot contain: NUL, and surrogates without their other half."""
    return text.encode("utf-8", "replace").decode().replace("\0", "\N{REPLACEMENT CHARACTER}")
