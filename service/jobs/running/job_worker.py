"""The engine (DBOS) at work in this process: claims orders, has each done by the handler, notes it.

    the engine claims an order                its threads, its event loop
    -> item_store.begin                           queued -> processing, if it is still wanted
    -> handler(item, job)                     on *our* event loop, where the batching engine is;
                                              the recording's length is noted when it is open
       its turn, once it has the recording    a place at the device, so many for each tenant; then
                                              beside the others, or alone if it is a suspect
    -> item_store.succeed | fail | put_back       and the job ends with its last item

An order is one workflow of one step. Whatever happens in the step ends in our tables, so the engine
sees every order succeed; what it is for is that an order whose process died is begun again. A
canceled order's step is interrupted by the engine within a second or so.

The engine is one per process (it keeps itself in a global): so is a `Worker`.
"""

import asyncio
import contextlib
import dataclasses
import logging
import time
from collections.abc import AsyncGenerator, Callable
from typing import ClassVar

import sqlalchemy as sa
from dbos import DBOS, DBOSConfig, DBOSPortableJSONSerializer
from sqlalchemy import exc

from service.database.database import Database
from service.errors import ItemError, JobError, JobsUnavailableError
from service.jobs.dbos_tasks import (
    APPLICATION,
    APPLICATION_VERSION,
    FETCH_QUEUE,
    ITEM_QUEUE,
    ITEM_WORKFLOW,
    QUARANTINE_QUEUE,
    SCHEMA,
    Order,
    WorkOrders,
    parse_order,
)
from service.jobs.job import Failure, ItemHandler, JobState, Outcome, result_key
from service.jobs.length_note import noting_length
from service.jobs.queue import JobObjects
from service.jobs.running.device_limiter import DevicePlaces, giving_turn
from service.jobs.running.read_write_lock import Gate
from service.jobs.running.worker_lease import WATCH_SECONDS, Slot
from service.jobs.store import item_store, retention
from service.observability.logging import log_event

_FEWEST_FETCHES = 4
_SINGLE_EXECUTOR = "local"
"""The one process of an SQLite database takes up what its predecessor had begun."""
_ENDING_SECONDS = 3
_logger = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class WorkerOptions:
    """How a process works on items."""

    concurrency: int = 8
    """Items at once. More than the device needs to be full, since some are reading or writing."""
    fetches: int | None = None
    """Items at once whose recordings are brought from elsewhere, before they have a place among
    `concurrency`. Absent: those of four tenants."""
    fetches_per_tenant: int | None = None
    """Of these, those of one tenant. Absent: `tenant_concurrency`, and at least four."""
    polling_seconds: float = 0.2
    """Between two looks for orders."""
    most_tries: int = 5
    """Of an item, for failures that may pass."""
    retry_delays_seconds: tuple[float, ...] = (2.0, 10.0, 60.0, 300.0)
    """Before the second try, the third, ..."""
    watch_seconds: float = WATCH_SECONDS
    """Between two looks for dead workers."""
    stalled_seconds: float = 10.0
    """Between two looks for orders of one's own that nobody works on."""

    @property
    def tenant_concurrency(self) -> int:
        """Items at once of one tenant: a quarter of the places is kept for others' next ones.

        So that somebody's three minutes need not wait for the end of one of another's hours.
        """
        return self.concurrency - self.concurrency // 4

    @property
    def tenant_fetches(self) -> int:
        """Fetches at once of one tenant."""
        return self.fetches_per_tenant or max(self.tenant_concurrency, _FEWEST_FETCHES)

    @property
    def all_fetches(self) -> int:
        """Fetches at once of all tenants."""
        return self.fetches or 4 * self.tenant_fetches


class Worker:
    """The engine, running."""

    _is_at_work: ClassVar[bool] = False

    def __init__(
        self,
        database: Database,
        orders: WorkOrders,
        objects: JobObjects,
        handler: ItemHandler,
        options: WorkerOptions,
        *,
        on_outcome: Callable[[str], None] | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Prepares; `launch` begins.

        Args:
            database: Open, with our tables.
            orders: In the same database.
            objects: Where a result that is not wanted any more is removed from.
            handler: Does an item.
            options: How.
            on_outcome: Told how each try of an item ended.
            clock: Seconds since 1970.
        """
        self._database = database
        self._orders = orders
        self._objects = objects
        self._handler = handler
        self._options = options
        self._on_outcome = on_outcome or _tell_nobody
        self._clock = clock
        self._gate = Gate()
        self._places = DevicePlaces(
            most=options.concurrency, most_per_tenant=options.tenant_concurrency
        )
        self._running: set[asyncio.Task[None]] = set()
        self._claimed: set[Order] = set()
        self._entered: set[Order] = set()
        self._looking: asyncio.Task[None] | None = None
        self._is_closing = False
        self._has_ended = asyncio.Event()
        self._slot: Slot | None = None
        self.taken_over = 0
        """Items of dead workers given back to the queue by this one."""

    async def launch(self) -> None:
        """Begins to claim orders; those that this worker's predecessor had begun come first."""
        if Worker._is_at_work:
            raise JobError("this process works on another database's jobs already; expected one")
        loop = asyncio.get_running_loop()
        Worker._is_at_work = True
        launching = asyncio.create_task(asyncio.to_thread(self._launch, loop))
        try:
            await asyncio.shield(launching)
            self._looking = asyncio.create_task(self._look_for_stalled())
        except BaseException:
            # Its thread goes on where we are canceled; an engine half begun cannot end.
            self.take_no_more()
            await asyncio.gather(launching, return_exceptions=True)
            await self.close(grace_seconds=0.0)
            raise

    @property
    def has_items_running(self) -> bool:
        """Whether items are being worked on."""
        return bool(self._running)

    def take_no_more(self) -> None:
        """Begins no order that is claimed from now on."""
        self._is_closing = True
        if self._looking is not None:
            self._looking.cancel()

    async def close(self, *, grace_seconds: float) -> None:
        """Claims no more, waits for what runs, and puts back what does not end in time."""
        deadline = time.monotonic() + grace_seconds
        self.take_no_more()
        if self._looking is not None:
            await asyncio.gather(self._looking, return_exceptions=True)
        while self._running and time.monotonic() < deadline:
            await asyncio.wait(list(self._running), timeout=deadline - time.monotonic())
        running = list(self._running)
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
        await self._end_engine()

    async def _end_engine(self) -> None:
        self._has_ended.set()
        try:
            # It first stops claiming, then gives what it has claimed a moment to reach us.
            await asyncio.to_thread(
                DBOS.destroy, destroy_registry=True, workflow_completion_timeout_sec=_ENDING_SECONDS
            )
        finally:
            Worker._is_at_work = False
            if self._slot is not None:
                await asyncio.to_thread(self._slot.close)

    @property
    def _executor(self) -> str:
        """This worker's name for the engine."""
        return self._slot.executor if self._slot else _SINGLE_EXECUTOR

    def _launch(self, loop: asyncio.AbstractEventLoop) -> None:
        if not self._database.is_sqlite:
            self._slot = Slot(self._database.engine)
        config = DBOSConfig(
            name=APPLICATION,
            system_database_engine=self._database.engine,
            application_version=APPLICATION_VERSION,
            executor_id=self._executor,
            serializer=DBOSPortableJSONSerializer(),
            log_level="WARNING",
            use_listen_notify=False,
            dbos_system_schema=SCHEMA,
        )
        DBOS(config=config)
        logging.getLogger("dbos").addFilter(_is_news)
        self._register(loop)
        DBOS.launch()
        DBOS.register_queue(
            ITEM_QUEUE,
            worker_concurrency=self._options.concurrency,
            partition_worker_concurrency=self._options.tenant_concurrency,
            polling_interval_sec=self._options.polling_seconds,
            on_conflict="always_update",
        )
        DBOS.register_queue(
            FETCH_QUEUE,
            worker_concurrency=self._options.all_fetches,
            partition_worker_concurrency=self._options.tenant_fetches,
            polling_interval_sec=self._options.polling_seconds,
            on_conflict="always_update",
        )
        DBOS.register_queue(
            QUARANTINE_QUEUE,
            worker_concurrency=1,
            polling_interval_sec=self._options.polling_seconds,
            on_conflict="always_update",
        )
        if self._slot is not None:
            self._slot.watch(
                self._orders,
                watch_seconds=self._options.watch_seconds,
                on_takeover=self._count_taken_over,
            )

    def _count_taken_over(self, count: int) -> None:
        self.taken_over += count

    def _register(self, loop: asyncio.AbstractEventLoop) -> None:
        async def do_item(order_id: str) -> None:
            future = asyncio.run_coroutine_threadsafe(self._do(parse_order(order_id)), loop)
            await asyncio.wrap_future(future)

        step = DBOS.step(name="do_item", preemptible=True)(do_item)

        async def transcribe_item(order_id: str) -> None:
            await step(order_id)

        DBOS.workflow(name=ITEM_WORKFLOW, max_recovery_attempts=None)(transcribe_item)

    async def _do(self, order: Order) -> None:
        task = asyncio.current_task()
        assert task is not None
        if self._is_closing:
            await self._decline()
        self._running.add(task)
        self._claimed.add(order)
        try:
            is_suspect = await self._database.run(
                lambda connection: item_store.is_quarantined(connection, order),
                patience_seconds=None,
            )
            await self._begin_and_do(order, is_suspect=is_suspect)
        finally:
            self._running.discard(task)
            self._claimed.discard(order)
            self._entered.discard(order)

    async def _decline(self) -> None:
        """Keeps an order claimed, so that no other is, until the engine ends.

        It stays begun in the engine: our successor, or another worker, takes it up.
        """
        await self._has_ended.wait()
        raise asyncio.CancelledError

    async def _look_for_stalled(self) -> None:
        """Places orders anew that the engine claimed for this worker and then forgot.

        It does when the database goes between its claim and its beginning: the order stays begun in
        the name of a worker that lives, and nobody would ever come for it. Twice in a row it must
        be in nobody's hands here; what runs all the same is done and counted once.
        """
        suspects: set[Order] = set()
        while True:
            await asyncio.sleep(self._options.stalled_seconds)
            try:
                idle = await asyncio.to_thread(self._orders.begun_by, self._executor)
                idle -= self._claimed
                for order in idle & suspects:
                    await self._place_anew(order)
            except (exc.DBAPIError, exc.TimeoutError, JobsUnavailableError) as error:
                log_event(_logger, "orders_unreachable", level=logging.WARNING, reason=str(error))
                continue
            suspects = idle

    async def _place_anew(self, order: Order) -> None:
        def place(connection: sa.Connection) -> bool:
            tenant = retention.tenant_of(connection, order.job_id)
            return tenant is not None and retention.place_again(
                connection, order, tenant, self._orders, self._clock()
            )

        is_placed = await self._database.run(place)
        await asyncio.to_thread(self._orders.withdraw, [order])
        if is_placed:
            log_event(_logger, "item_stalled", level=logging.WARNING, item=order.order_id)

    @contextlib.asynccontextmanager
    async def _turn(self, order: Order, tenant: str, *, is_suspect: bool) -> AsyncGenerator[None]:
        """Holds a place at the device, and notes that the item is at work from here on."""
        async with (
            self._places.take(tenant),
            self._gate.alone() if is_suspect else self._gate.together(),
        ):
            await self._database.run(
                lambda connection: item_store.enter_device(connection, order), patience_seconds=None
            )
            self._entered.add(order)
            yield

    async def _begin_and_do(self, order: Order, *, is_suspect: bool) -> None:
        if self._is_closing:  # while its suspicion was looked up
            await self._decline()
        begun = await self._database.run(
            lambda connection: item_store.begin(connection, order, self._orders, self._clock()),
            patience_seconds=None,
        )
        if begun is not None:
            tenant = begun.job.tenant
            try:
                with (
                    noting_length(lambda seconds: self._note_length(order, seconds)),
                    giving_turn(lambda: self._turn(order, tenant, is_suspect=is_suspect)),
                ):
                    outcome = await self._handler(begun.item, begun.job)
            except asyncio.CancelledError:
                # Canceled by its owner, where this changes nothing, or we go down.
                self._on_outcome("retried" if self._is_closing else "canceled")
                await asyncio.shield(self._release(order))
                raise
            except ItemError as error:
                await self._note_failure(order, error)
            except Exception as error:  # noqa: BLE001 (the outer edge: logged, kept on the item)
                log_event(
                    _logger, "item_failed", level=logging.ERROR, error=error, item=order.order_id
                )
                await self._note_failure(
                    order,
                    ItemError("the worker failed; its log says why", code="internal_error",
                              is_transient=True),
                )  # fmt: skip
            else:
                await self._note_success(order, outcome)
        await self._database.run(
            lambda connection: item_store.finish_job(connection, order.job_id, self._clock()),
            patience_seconds=None,
        )

    async def _note_length(self, order: Order, audio_seconds: float) -> None:
        with contextlib.suppress(JobsUnavailableError):  # its success says it again
            await self._database.run(
                lambda connection: item_store.note_length(connection, order, audio_seconds)
            )

    async def _note_success(self, order: Order, outcome: Outcome) -> None:
        counted = await self._database.run(
            lambda connection: item_store.succeed(connection, order, outcome, self._clock()),
            patience_seconds=None,
        )
        self._on_outcome("succeeded" if counted else "canceled")
        if not counted and await self._is_unwanted(order):
            await self._objects.delete(result_key(order.job_id, order.number))

    async def _is_unwanted(self, order: Order) -> bool:
        """Whether a result just written belongs to nobody: canceled or deleted meanwhile."""
        state = await self._database.run(
            lambda connection: item_store.item_state(connection, order), patience_seconds=None
        )
        return state is None or state is JobState.CANCELED

    async def _note_failure(self, order: Order, error: ItemError) -> None:
        failure = Failure(code=error.code, message=_storable(str(error)))
        if not error.is_transient:
            await self._database.run(
                lambda connection: item_store.fail(connection, order, failure, self._clock()),
                patience_seconds=None,
            )
            self._on_outcome("failed")
            return
        state = await self._database.run(
            lambda connection: item_store.put_back(
                connection, order, failure, self._orders,
                most_tries=self._options.most_tries,
                delays_seconds=self._options.retry_delays_seconds,
                now=self._clock(),
            ),
            patience_seconds=None,
        )  # fmt: skip
        self._on_outcome("retried" if state is JobState.QUEUED else state.value)
        log_event(
            _logger, "item_put_back", level=logging.WARNING,
            item=order.order_id, code=error.code, state=state.value,
        )  # fmt: skip

    async def _release(self, order: Order) -> None:
        with contextlib.suppress(Exception):  # the process ends: what is not noted is recovered
            await self._database.run(
                lambda connection: item_store.release(
                    connection, order, self._clock(), has_entered=order in self._entered
                ),
                patience_seconds=1.0,
            )


def _tell_nobody(outcome: str) -> None:
    """Where nobody counts."""
    del outcome


def _storable(text: str) -> str:
    """Replaces what a database's text cannot hold: NUL, and surrogates without their other half."""
    return text.encode("utf-8", "replace").decode().replace("\0", "\N{REPLACEMENT CHARACTER}")


def _is_news(record: logging.LogRecord) -> bool:
    """The engine logs interrupted steps as faults, with their traces; here they are none."""
    is_interrupted = bool(record.exc_info) and type(record.exc_info[1]).__name__.endswith(
        "CancelledError"
    )
    message = record.getMessage()
    is_said = "was cancelled during execution" in message or "task cancelled for" in message
    return not is_interrupted and not is_said
