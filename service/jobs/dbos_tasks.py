"""The task queue on DBOS and the executor that takes tasks from it; DBOS is used only here.

A task is a DBOS workflow with one step and one argument, its own id, which names the job, the item
and the run. A new run has a new id, because DBOS answers a known id with the old result. Each
tenant is a partition of the queue; items suspected of killing the process go to a queue of their
own (`running/read_write_lock.py`).

What goes beyond the public interface of DBOS (``dbos>=3.4,<4``), and what it waits for upstream:

- `recover_executor` calls ``DBOS._recover_pending_workflows``: the open-source edition has no
  public call that gives a dead executor's workflows back to the queue, and leaves that to DBOS
  Conductor (dbos-inc/dbos-transact-py issue 453). Tested by
  tests/integration/jobs/test_takeover.py.
- `TaskQueue.enqueue_copies` copies rows of ``workflow_status`` and ``workflow_input`` in SQL: there
  is no bulk form of ``enqueue_in_transaction`` (pull request 709 added that for one task;
  no issue about many was found). Tested by tests/unit/service/jobs/test_dbos_tasks.py.
- `is_not_interruption` filters the log: DBOS logs a step that was canceled as an error, and has no
  setting for it (no issue was found). Tested by tests/unit/service/jobs/test_dbos_tasks.py.
- `start_executor` gives the logger ``dbos`` a handler, so that DBOS adds none of its own and its
  messages become lines of our log; it has no setting for this (no issue was found). Tested by
  tests/unit/service/jobs/test_dbos_tasks.py.
"""

import asyncio
import dataclasses
import logging
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from itertools import islice

import sqlalchemy as sa
from dbos import DBOS, DBOSClient, DBOSConfig, DBOSPortableJSONSerializer, EnqueueOptions

from service.database.database import Database
from service.jobs.job import ItemRun, parse_item_run
from service.observability.repetition import RepetitionFilter

APPLICATION = "mt3"
APPLICATION_VERSION = "1"
"""Set by hand: DBOS gives an executor only tasks of its own version. The default, a hash of the
code, would leave all waiting jobs unprocessed after every upgrade. Raise it only when old tasks can
no longer be read, and drain the queue first."""
SCHEMA = "mt3_dbos"
"""The schema of DBOS's tables on Postgres (SQLite has none); ours are in the default schema."""
ITEM_WORKFLOW = "transcribe_item"
ITEM_QUEUE = "items"
FETCH_QUEUE = "fetches"
"""The queue of items whose recordings are not in our storage, so that a slow server does not delay
the others. Tasks of an earlier version are in `ITEM_QUEUE` and are processed from there."""
QUARANTINE_QUEUE = "quarantine"
_CHUNK = 1_000
"""Ids in one statement: databases limit its parameters (SQLite to 32,766)."""
_LOST = frozenset({"SUCCESS", "ERROR", "CANCELLED", "MAX_RECOVERY_ATTEMPTS_EXCEEDED"})
INTERRUPTION_MESSAGES = ("was cancelled during execution", "task cancelled for")
"""Parts of DBOS's log messages about interrupted steps."""
_STOP_SECONDS = 3
_logger = logging.getLogger("dbos")
_NO_OUTPUT = logging.NullHandler()
_REPETITIONS = RepetitionFilter(10.0)
"""DBOS logs each of its attempts, some of them every few milliseconds, while the database is
unreachable."""


class TaskQueue:
    """The tasks in one database, which executors in this and other processes take."""

    def __init__(self, database: Database) -> None:
        """Create DBOS's tables where they are missing; blocks."""
        DBOS.migrate(database.url, schema=SCHEMA)
        self._schema = None if database.is_sqlite else SCHEMA
        self._copies: list[sa.TextClause] | None = None
        self._client = DBOSClient(
            system_database_engine=database.engine,
            dbos_system_schema=SCHEMA,
            serializer=DBOSPortableJSONSerializer(),
            application_name=APPLICATION,
            lazy=True,
            retry_connection_errors=False,  # our callers decide how long to wait
        )

    def enqueue(
        self,
        connection: sa.Connection,
        item_run: ItemRun,
        *,
        tenant: str,
        source_kind: str,
        is_quarantined: bool = False,
        delay_seconds: float = 0.0,
    ) -> None:
        """Enqueue a task in the caller's transaction.

        Args:
            connection: a connection in a transaction.
            item_run: the item and its run.
            tenant: the owner of the job.
            source_kind: the kind of the item's source, which decides the queue.
            is_quarantined: whether the item must run alone.
            delay_seconds: the time before which the task is not started.
        """
        queue = ITEM_QUEUE if source_kind == "upload" else FETCH_QUEUE
        options = EnqueueOptions(
            workflow_name=ITEM_WORKFLOW,
            queue_name=QUARANTINE_QUEUE if is_quarantined else queue,
            workflow_id=item_run.task_id,
            app_version=APPLICATION_VERSION,
        )
        if not is_quarantined:
            options["queue_partition_key"] = tenant
        if delay_seconds > 0:
            options["delay_seconds"] = delay_seconds
        self._client.enqueue_in_transaction(connection, options, item_run.task_id)

    def enqueue_all(
        self, connection: sa.Connection, item_runs: Iterable[tuple[ItemRun, str]], *, tenant: str
    ) -> None:
        """Enqueue tasks, each with the kind of its item's source, in the caller's transaction."""
        by_kind: dict[str, list[ItemRun]] = {}
        for item_run, source_kind in item_runs:
            by_kind.setdefault(source_kind, []).append(item_run)
        for source_kind, (first, *others) in by_kind.items():
            self.enqueue(connection, first, tenant=tenant, source_kind=source_kind)
            self.enqueue_copies(connection, first, others)

    def enqueue_copies(
        self, connection: sa.Connection, first: ItemRun, others: Sequence[ItemRun]
    ) -> None:
        """Enqueue tasks that differ from an enqueued one only in their items.

        DBOS's own call costs 0.3 ms of Python a task, three seconds for ten thousand. Copying the
        rows that it wrote for the first task, with other ids, takes a tenth of that. The SQL names
        two tables of DBOS and one column of each; all other columns are copied as they are.
        """
        if self._copies is None:
            self._copies = [
                _copy_statement(connection, table, changed, self._schema)
                for table, changed in (
                    ("workflow_status", {"workflow_uuid": ":new"}),
                    ("workflow_input", {"workflow_uuid": ":new", "inputs": _REPLACED_INPUT}),
                )
            ]
        ids = [{"first": first.task_id, "new": item_run.task_id} for item_run in others]
        if ids:
            for statement in self._copies:
                connection.execute(statement, ids)

    def cancel(self, item_runs: Sequence[ItemRun]) -> None:
        """Cancel tasks; those that are running are interrupted within seconds."""
        for chunk in _chunks(item_runs):
            self._client.cancel_workflows([item_run.task_id for item_run in chunk])

    def delete(self, item_runs: Sequence[ItemRun]) -> None:
        """Delete every row of these tasks."""
        for chunk in _chunks(item_runs):
            self._client.delete_workflows([item_run.task_id for item_run in chunk])

    def find_lost(self, item_runs: Sequence[ItemRun]) -> list[ItemRun]:
        """Find the runs whose task is missing or has ended."""
        alive: set[str] = set()
        for chunk in _chunks(item_runs):
            found = self._client.list_workflows(
                workflow_ids=[item_run.task_id for item_run in chunk],
                load_input=False,
                load_output=False,
            )
            alive.update(status.workflow_id for status in found if status.status not in _LOST)
        return [item_run for item_run in item_runs if item_run.task_id not in alive]

    def pending_of(self, executor: str) -> set[ItemRun]:
        """Return the runs that an executor has started and not ended."""
        begun = self._client.list_workflows(
            status="PENDING",
            name=ITEM_WORKFLOW,
            executor_id=executor,
            load_input=False,
            load_output=False,
        )
        return {parse_item_run(status.workflow_id) for status in begun}

    def pending_executors(self) -> set[str]:
        """Return the names of the executors that have started tasks and not ended them."""
        begun = self._client.list_workflows(
            status="PENDING", name=ITEM_WORKFLOW, load_input=False, load_output=False
        )
        return {status.executor_id for status in begun if status.executor_id}

    def close(self) -> None:
        """Close the client; the database stays open."""
        self._client.destroy()


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class ExecutorLimits:
    """Limits on the tasks that an executor runs at the same time."""

    items: int
    items_per_tenant: int
    fetches: int
    fetches_per_tenant: int
    polling_seconds: float
    """The time between two queries of a queue."""


def start_executor(
    database: Database,
    run_item: Callable[[ItemRun], Awaitable[None]],
    *,
    name: str,
    limits: ExecutorLimits,
    loop: asyncio.AbstractEventLoop,
) -> None:
    """Start to take tasks in this process, of which DBOS allows one at a time; blocks.

    Tasks that an executor of the same name had started are taken first.

    Args:
        database: the database of the tasks.
        run_item: runs a task; must not raise.
        name: the name under which DBOS records started tasks.
        limits: how many tasks are taken at once.
        loop: the event loop on which ``run_item`` runs.
    """
    config = DBOSConfig(
        name=APPLICATION,
        system_database_engine=database.engine,
        application_version=APPLICATION_VERSION,
        executor_id=name,
        serializer=DBOSPortableJSONSerializer(),
        log_level="WARNING",
        use_listen_notify=False,
        dbos_system_schema=SCHEMA,
    )
    for log_filter in (is_not_interruption, _REPETITIONS):
        _logger.addFilter(log_filter)
    # DBOS writes its own lines to standard error, which are not JSON, if its logger has no handler.
    _logger.addHandler(_NO_OUTPUT)
    DBOS(config=config)
    register_workflow(run_item, loop)
    DBOS.launch()
    _register_queue(ITEM_QUEUE, limits, limits.items, limits.items_per_tenant)
    _register_queue(FETCH_QUEUE, limits, limits.fetches, limits.fetches_per_tenant)
    _register_queue(QUARANTINE_QUEUE, limits, 1, None)


def stop_executor() -> None:
    """Stop taking tasks; blocks. Started ones remain so, for the next executor of this name."""
    # DBOS first stops claiming tasks, then waits a moment for the claimed ones to start.
    DBOS.destroy(destroy_registry=True, workflow_completion_timeout_sec=_STOP_SECONDS)


def recover_executor(name: str) -> int:
    """Return the tasks that a dead executor had started to the queue; return their number."""
    return len(DBOS._recover_pending_workflows([name]))  # noqa: SLF001 # pyright: ignore[reportPrivateUsage]


def register_workflow(
    run_item: Callable[[ItemRun], Awaitable[None]], loop: asyncio.AbstractEventLoop
) -> None:
    """Register the workflow of one task with DBOS.

    Args:
        run_item: runs a task.
        loop: the event loop on which ``run_item`` runs.
    """

    async def run(task_id: str) -> None:
        await run_item(parse_item_run(task_id))

    async def do_item(task_id: str) -> None:
        # DBOS has its own threads and event loop; the transcription engine is on ours.
        await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(run(task_id), loop))

    step = DBOS.step(name="do_item", preemptible=True)(do_item)

    async def transcribe_item(task_id: str) -> None:
        await step(task_id)

    DBOS.workflow(name=ITEM_WORKFLOW, max_recovery_attempts=None)(transcribe_item)


def _register_queue(
    name: str, limits: ExecutorLimits, concurrency: int, tenant_concurrency: int | None
) -> None:
    DBOS.register_queue(
        name,
        worker_concurrency=concurrency,
        partition_worker_concurrency=tenant_concurrency,
        polling_interval_sec=limits.polling_seconds,
        on_conflict="always_update",
    )


def is_not_interruption(record: logging.LogRecord) -> bool:
    """Filter out the errors, with their traces, that DBOS logs for interrupted steps."""
    is_interrupted = bool(record.exc_info) and type(record.exc_info[1]).__name__.endswith(
        "CancelledError"
    )
    message = record.getMessage()
    return not is_interrupted and not any(text in message for text in INTERRUPTION_MESSAGES)


_REPLACED_INPUT = "replace(inputs, :first, :new)"
"""A task's one argument is its id."""


def _copy_statement(
    connection: sa.Connection, table: str, changed: dict[str, str], schema: str | None
) -> sa.TextClause:
    names = [str(column["name"]) for column in sa.inspect(connection).get_columns(table, schema)]
    source = f"{schema}.{table}" if schema else table
    values = ", ".join(changed.get(name, name) for name in names)
    # All names come from DBOS and from this module.
    return sa.text(
        f"insert into {source} ({', '.join(names)})"  # noqa: S608
        f" select {values} from {source} where workflow_uuid = :first"
    )


def _chunks(item_runs: Iterable[ItemRun]) -> Iterator[list[ItemRun]]:
    remaining = iter(item_runs)
    while chunk := list(islice(remaining, _CHUNK)):
        yield chunk
