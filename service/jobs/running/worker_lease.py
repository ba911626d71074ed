"""A worker's lease on its name, held by its database session, and the takeover of dead workers.

DBOS records the worker that started a task, and starts the task again only when a worker of that
name starts; the tasks of a worker that never returns would wait forever. So a worker's name is a
number, on which it holds an advisory lock of Postgres. Postgres releases the lock as soon as the
session ends, however the process died. Every other worker tries, every two seconds, the locks of
all names with started tasks; if it gets one, that worker is dead, and its tasks return to the
queue.

A worker whose own session broke (Postgres was restarted) acquires its lease again before it checks
others, and waits some seconds for them to do the same. If a live worker is presumed dead after all,
its items are processed twice and counted once, thanks to the conditions in `store/item_store.py`.

Session locks need a session: connect directly, not through a pooler in transaction mode.
"""

import logging
import threading
import time
from collections.abc import Callable

import sqlalchemy as sa
from sqlalchemy import exc

from service.database.leader_lock import end_session
from service.jobs.dbos_tasks import SCHEMA, TaskQueue, recover_executor
from service.observability.logging import log_event

WATCH_SECONDS = 2.0
"""Time between two checks of the other workers' leases."""
_GRACE_SECONDS = 6.0
"""Time for other workers to acquire their leases again after our own session broke."""
_NAMES = 4_096
_PREFIX = "slot-"
"""The first part of a worker's name, unchanged since earlier versions, whose tasks have it."""
_logger = logging.getLogger(__name__)


class WorkerLease:
    """This worker's lease, held as long as the process and its database session live."""

    def __init__(self, engine: sa.Engine, schema: str = SCHEMA) -> None:
        """Acquire the first free lease; blocks.

        Args:
            engine: the engine of a Postgres database; one of its connections is kept.
            schema: the schema of DBOS's tables, which differs between deployments.
        """
        self._engine = engine
        self._schema = schema
        self._session: sa.Connection | None = None
        self._stopping = threading.Event()
        self._watcher: threading.Thread | None = None
        session = self._connect()
        self.number = next((n for n in range(_NAMES) if self._try_lock(session, n)), None)
        assert self.number is not None, "more workers than names"
        self._session = session

    @property
    def executor(self) -> str:
        """The name under which DBOS records this worker's tasks."""
        return f"{_PREFIX}{self.number}"

    def watch(
        self,
        tasks: TaskQueue,
        *,
        watch_seconds: float = WATCH_SECONDS,
        on_takeover: Callable[[int], None] | None = None,
    ) -> None:
        """Start to check for dead workers, in a thread.

        Args:
            tasks: the task queue, which records the worker of each started task.
            watch_seconds: the time between two checks.
            on_takeover: called with the number of items taken over.
        """

        def run() -> None:
            quiet_until = 0.0
            while not self._stopping.wait(watch_seconds):
                try:
                    if not self._is_held():
                        self._reacquire()
                        quiet_until = time.monotonic() + _GRACE_SECONDS
                    elif time.monotonic() >= quiet_until:
                        self._take_over_dead(tasks, on_takeover)
                except exc.DBAPIError as error:
                    reason = str(error.orig)
                    log_event(_logger, "leases_unreachable", level=logging.WARNING, reason=reason)
                    self._drop_session()

        self._watcher = threading.Thread(target=run, name="lease-watcher", daemon=True)
        self._watcher.start()

    def release(self) -> None:
        """Release the lease: other workers take over the tasks that this one left unfinished."""
        self._stopping.set()
        if self._watcher is not None:
            self._watcher.join(timeout=10)
        self._drop_session()

    def _take_over_dead(self, tasks: TaskQueue, on_takeover: Callable[[int], None] | None) -> None:
        session = self._session
        assert session is not None
        for executor in tasks.pending_executors() - {self.executor}:
            number = executor.removeprefix(_PREFIX)
            if not number.isdigit() or not self._try_lock(session, int(number)):
                continue
            try:
                count = recover_executor(executor)
            finally:
                session.execute(
                    sa.text("select pg_advisory_unlock(hashtext(:schema), :n)"),
                    {"schema": f"mt3 worker {self._schema}", "n": int(number)},
                )
            if count:
                log_event(_logger, "worker_taken_over", worker=executor, items=count)
                if on_takeover is not None:
                    on_takeover(count)

    def _is_held(self) -> bool:
        if self._session is None:
            return False
        self._session.execute(sa.text("select 1"))
        return True

    def _reacquire(self) -> None:
        session = self._connect()
        assert self.number is not None
        if self._try_lock(session, self.number):
            self._session = session
            log_event(_logger, "lease_reacquired", worker=self.executor)
        else:
            # Another worker is just taking over our items; the next check tries again.
            session.close()

    def _connect(self) -> sa.Connection:
        return self._engine.connect().execution_options(isolation_level="AUTOCOMMIT")

    def _try_lock(self, session: sa.Connection, number: int) -> bool:
        return bool(
            session.scalar(
                sa.text("select pg_try_advisory_lock(hashtext(:schema), :n)"),
                {"schema": f"mt3 worker {self._schema}", "n": number},
            )
        )

    def _drop_session(self) -> None:
        session, self._session = self._session, None
        if session is not None:
            end_session(session)
