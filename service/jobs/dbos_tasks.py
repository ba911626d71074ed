"""Work orders in the engine (DBOS): one for each item, placed, withdrawn and removed by its id.

With `running/job_worker.py` and `running/worker_lease.py` the only code that knows DBOS. An order
is a workflow of one argument, its own id, which says job, item and run; a new run is a new id,
because the engine answers a known id with the old result. Every tenant is a partition of the queue;
suspects of a crash go to another queue (`running/read_write_lock.py`).
"""

import dataclasses
import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice

import sqlalchemy as sa
from dbos import DBOS, DBOSClient, DBOSPortableJSONSerializer, EnqueueOptions

from service.database.database import Database

APPLICATION = "mt3"
APPLICATION_VERSION = "1"
"""Fixed by hand. The engine gives a worker only orders of its own version, and its default, a hash
of the code, would strand all waiting jobs at every upgrade. Raise it only when old orders cannot be
understood any more, and then drain first."""
SCHEMA = "mt3_dbos"
"""Of the engine's tables on Postgres (SQLite has no schemas); ours are in the default one."""
ITEM_WORKFLOW = "transcribe_item"
ITEM_QUEUE = "items"
FETCH_QUEUE = "fetches"
"""Items whose recordings are not in our storage: a slow server holds none of the places of the
others. Orders of an earlier version's, in `ITEM_QUEUE`, are done all the same."""
QUARANTINE_QUEUE = "quarantine"
_CHUNK = 1_000
"""Ids in one statement: databases bound the parameters of one (SQLite 32,766)."""
_ORDER = re.compile(r"(?P<job>job_[0-9a-f]+):(?P<number>[0-9]{6,}):(?P<run>[0-9]+)")
_LOST = frozenset({"SUCCESS", "ERROR", "CANCELLED", "MAX_RECOVERY_ATTEMPTS_EXCEEDED"})


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Order:
    """Which item is to be worked on, and which run of it."""

    job_id: str
    number: int
    run: int

    @property
    def order_id(self) -> str:
        """The engine's id of it."""
        return f"{self.job_id}:{self.number:06d}:{self.run}"


def parse_order(order_id: str) -> Order:
    """Reads an id that `Order.order_id` gave."""
    match = _ORDER.fullmatch(order_id)
    assert match, order_id
    return Order(job_id=match["job"], number=int(match["number"]), run=int(match["run"]))


class WorkOrders:
    """The orders in one database, which the engine may be working on in this process or another."""

    def __init__(self, database: Database) -> None:
        """Makes the engine's tables where they are missing; blocks."""
        DBOS.migrate(database.url, schema=SCHEMA)
        self._schema = None if database.is_sqlite else SCHEMA
        self._copies: list[sa.TextClause] | None = None
        self._client = DBOSClient(
            system_database_engine=database.engine,
            dbos_system_schema=SCHEMA,
            serializer=DBOSPortableJSONSerializer(),
            application_name=APPLICATION,
            lazy=True,
            retry_connection_errors=False,  # how long to wait is our callers' to say
        )

    def place(
        self,
        connection: sa.Connection,
        order: Order,
        *,
        tenant: str,
        source_kind: str,
        is_quarantined: bool = False,
        delay_seconds: float = 0.0,
    ) -> None:
        """Places an order in the caller's transaction.

        Args:
            connection: In a transaction.
            order: Which item and run.
            tenant: Whose it is.
            source_kind: Of the item's source, which decides the queue.
            is_quarantined: It is to run alone.
            delay_seconds: It is not begun before.
        """
        queue = ITEM_QUEUE if source_kind == "upload" else FETCH_QUEUE
        options = EnqueueOptions(
            workflow_name=ITEM_WORKFLOW,
            queue_name=QUARANTINE_QUEUE if is_quarantined else queue,
            workflow_id=order.order_id,
            app_version=APPLICATION_VERSION,
        )
        if not is_quarantined:
            options["queue_partition_key"] = tenant
        if delay_seconds > 0:
            options["delay_seconds"] = delay_seconds
        self._client.enqueue_in_transaction(connection, options, order.order_id)

    def place_all(
        self, connection: sa.Connection, orders: Iterable[tuple[Order, str]], *, tenant: str
    ) -> None:
        """Places orders with the kinds of their items' sources in the caller's transaction."""
        of_kind: dict[str, list[Order]] = {}
        for order, source_kind in orders:
            of_kind.setdefault(source_kind, []).append(order)
        for source_kind, (first, *following) in of_kind.items():
            self.place(connection, first, tenant=tenant, source_kind=source_kind)
            self.place_alike(connection, first, following)

    def place_alike(
        self, connection: sa.Connection, first: Order, following: Sequence[Order]
    ) -> None:
        """Places orders that differ from a placed one in nothing but their items.

        The engine's own call costs 0.3 ms of Python an order, three seconds for ten thousand; here
        the rows that it wrote for the first are copied in SQL with other ids, which takes a tenth.
        It knows two tables of the engine by name and one column of each; all others are copied as
        they are. `tests/unit/service/jobs/test_dbos_orders.py` holds that a copy is what the engine
        itself would have written.
        """
        if self._copies is None:
            self._copies = [
                _copy_statement(connection, table, changed, self._schema)
                for table, changed in (
                    ("workflow_status", {"workflow_uuid": ":new"}),
                    ("workflow_input", {"workflow_uuid": ":new", "inputs": _OTHER_INPUTS}),
                )
            ]
        ids = [{"first": first.order_id, "new": order.order_id} for order in following]
        if ids:
            for statement in self._copies:
                connection.execute(statement, ids)

    def withdraw(self, orders: Sequence[Order]) -> None:
        """Withdraws orders; those being worked on are interrupted within seconds."""
        for chunk in _chunks(orders):
            self._client.cancel_workflows([order.order_id for order in chunk])

    def remove(self, orders: Sequence[Order]) -> None:
        """Removes every row of these orders."""
        for chunk in _chunks(orders):
            self._client.delete_workflows([order.order_id for order in chunk])

    def lost(self, orders: Sequence[Order]) -> list[Order]:
        """Gives those that the engine will not work on any more, or has never heard of."""
        alive: set[str] = set()
        for chunk in _chunks(orders):
            found = self._client.list_workflows(
                workflow_ids=[order.order_id for order in chunk],
                load_input=False,
                load_output=False,
            )
            alive.update(status.workflow_id for status in found if status.status not in _LOST)
        return [order for order in orders if order.order_id not in alive]

    def begun_by(self, executor: str) -> set[Order]:
        """Gives the orders that a worker has begun and not ended."""
        begun = self._client.list_workflows(
            status="PENDING",
            name=ITEM_WORKFLOW,
            executor_id=executor,
            load_input=False,
            load_output=False,
        )
        return {parse_order(status.workflow_id) for status in begun}

    def executors_at_work(self) -> set[str]:
        """Gives the names of the workers that have orders begun and not ended."""
        begun = self._client.list_workflows(
            status="PENDING", name=ITEM_WORKFLOW, load_input=False, load_output=False
        )
        return {status.executor_id for status in begun if status.executor_id}

    def close(self) -> None:
        """Lets go of the engine's client; the database stays open."""
        self._client.destroy()


_OTHER_INPUTS = "replace(inputs, :first, :new)"
"""An order's one argument is its id."""


def _copy_statement(
    connection: sa.Connection, table: str, changed: dict[str, str], schema: str | None
) -> sa.TextClause:
    names = [str(column["name"]) for column in sa.inspect(connection).get_columns(table, schema)]
    source = f"{schema}.{table}" if schema else table
    values = ", ".join(changed.get(name, name) for name in names)
    # All names are the engine's and ours.
    return sa.text(
        f"insert into {source} ({', '.join(names)})"  # noqa: S608
        f" select {values} from {source} where workflow_uuid = :first"
    )


def _chunks(orders: Iterable[Order]) -> Iterator[list[Order]]:
    remaining = iter(orders)
    while chunk := list(islice(remaining, _CHUNK)):
        yield chunk
