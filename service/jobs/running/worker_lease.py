"""Whose items are whose: each worker on Postgres holds a slot, and a dead worker's slot is free.

The engine gives every begun order the name of the worker that began it, and begins it again only
when a worker of that name starts; the orders of one that never comes back would wait for ever. So a
worker's name is the number of a slot, and the slot is a session's advisory lock: Postgres lets go
of it in the moment in which the session ends, however the process died. Every other worker tries,
every two seconds, the locks of the slots that have begun orders; where it gets one, nobody works
there any more, and it gives those orders back to the queue.

A worker whose own session broke (Postgres was restarted) takes its slot again before it looks at
others', and leaves them some seconds to do the same. If one is wrongly thought dead all the same,
its items are done twice and counted once, by the conditions of `store/item_store.py`.

Session locks need a session: connect directly, not through a pooler in transaction mode.
"""

import logging
import threading
import time
from collections.abc import Callable

import sqlalchemy as sa
from dbos import DBOS
from sqlalchemy import exc

from service.database.database import end_session
from service.jobs.dbos_tasks import SCHEMA, WorkOrders
from service.observability.logging import log_event

WATCH_SECONDS = 2.0
"""Between two looks at the others' slots."""
_GRACE_SECONDS = 6.0
"""After our own session broke: others' did too, and they come back as we did."""
_SLOTS = 4_096
_NAME = "slot-"
_logger = logging.getLogger(__name__)


def recover(executor: str) -> int:
    """Gives a dead worker's begun orders back to the queue; gives their number.

    The one private call of the engine: in its open-source form nothing public does this
    (`tests/integration/jobs/test_takeover.py` holds it to what we need of it).
    """
    return len(DBOS._recover_pending_workflows([executor]))  # noqa: SLF001 # pyright: ignore[reportPrivateUsage]


class Slot:
    """This worker's slot, held as long as the process and its database session live."""

    def __init__(self, engine: sa.Engine, schema: str = SCHEMA) -> None:
        """Takes the first free slot; blocks.

        Args:
            engine: Of a Postgres database; one connection is kept from it.
            schema: Of the engine's tables: workers of other deployments have slots of their own.
        """
        self._engine = engine
        self._schema = schema
        self._session: sa.Connection | None = None
        self._stopping = threading.Event()
        self._watcher: threading.Thread | None = None
        session = self._connect()
        self.number = next((n for n in range(_SLOTS) if self._try_lock(session, n)), None)
        assert self.number is not None, "more workers than slots"
        self._session = session

    @property
    def executor(self) -> str:
        """The worker's name for the engine."""
        return f"{_NAME}{self.number}"

    def watch(
        self,
        orders: WorkOrders,
        *,
        watch_seconds: float = WATCH_SECONDS,
        on_takeover: Callable[[int], None] | None = None,
    ) -> None:
        """Begins to look after the others, in a thread.

        Args:
            orders: Says which workers have begun orders.
            watch_seconds: Between two looks.
            on_takeover: Told of the number of items taken over.
        """

        def run() -> None:
            quiet_until = 0.0
            while not self._stopping.wait(watch_seconds):
                try:
                    if not self._is_held():
                        self._take_again()
                        quiet_until = time.monotonic() + _GRACE_SECONDS
                    elif time.monotonic() >= quiet_until:
                        self._look(orders, on_takeover)
                except exc.DBAPIError as error:
                    reason = str(error.orig)
                    log_event(_logger, "slots_unreachable", level=logging.WARNING, reason=reason)
                    self._drop()

        self._watcher = threading.Thread(target=run, name="slot-watcher", daemon=True)
        self._watcher.start()

    def close(self) -> None:
        """Lets go of the slot: what this worker left begun is the others' from now on."""
        self._stopping.set()
        if self._watcher is not None:
            self._watcher.join(timeout=10)
        self._drop()

    def _look(self, orders: WorkOrders, on_takeover: Callable[[int], None] | None) -> None:
        session = self._session
        assert session is not None
        for executor in orders.executors_at_work() - {self.executor}:
            number = executor.removeprefix(_NAME)
            if not number.isdigit() or not self._try_lock(session, int(number)):
                continue
            try:
                count = recover(executor)
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

    def _take_again(self) -> None:
        session = self._connect()
        assert self.number is not None
        if self._try_lock(session, self.number):
            self._session = session
            log_event(_logger, "slot_taken_again", slot=self.number)
        else:
            # Somebody is looking after our items just now; we are asked again in two seconds.
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

    def _drop(self) -> None:
        session, self._session = self._session, None
        if session is not None:
            end_session(session)
