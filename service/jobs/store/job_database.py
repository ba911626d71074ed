"""Opens the database of the jobs: our tables, those of DBOS, and the storage's id."""

import dataclasses
import logging
import time

from sqlalchemy import exc

from service.database.database import Database, unreachable
from service.database.database_faults import DatabaseFault, find_fault
from service.jobs.dbos_tasks import TaskQueue
from service.jobs.store.storage_binding import StorageBinding
from service.jobs.store.tables import prepare_tables
from service.observability.logging import log_event

_RETRY_SECONDS = 1.0
_logger = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class JobDatabase:
    """An open database with our tables, and the task queue in it."""

    database: Database
    tasks: TaskQueue
    binding: StorageBinding | None = None
    """Checks whether the storage belongs to the database; None if that is certain."""

    def close(self) -> None:
        """Close the task queue's client and all connections; blocks."""
        self.tasks.close()
        self.database.close()


def open_job_database(
    url: str, *, binding: StorageBinding | None = None, wait_seconds: float = 0.0
) -> JobDatabase:
    """Open the database and create or migrate its tables; blocks.

    Args:
        url: ``sqlite:///path`` or ``postgresql://...``.
        binding: checks that the storage belongs to the database; None: no check.
        wait_seconds: how long to retry while the database cannot be reached.

    Raises:
        DatabaseInUseError: another process has the SQLite file open.
        JobError: the URL names no usable database, or the database is damaged.
        JobsUnavailableError: the database cannot be reached.
        StorageMismatchError: the storage belongs to another database.
    """
    deadline = time.monotonic() + wait_seconds
    logged: str | None = None
    while True:
        database = Database(url)
        try:
            database.create_tables(prepare_tables)
            if binding is not None:
                binding.bind_if_reachable(database)
            return JobDatabase(database=database, tasks=TaskQueue(database), binding=binding)
        except exc.DBAPIError as error:
            is_full = find_fault(error) is DatabaseFault.FULL
            has_more_room = is_full and database.release_reserve()
            refusal = database.opening_refusal(error)
            database.close()
            if has_more_room:
                continue
            if refusal is not None:
                raise refusal from error
            reason = str(error.orig).partition("\n")[0]
            if reason != logged:
                log_event(_logger, "database_unreachable", level=logging.WARNING, reason=reason)
                logged = reason
            if time.monotonic() >= deadline:
                raise unreachable(database.name, reason) from error
            time.sleep(_RETRY_SECONDS)
        except BaseException:
            database.close()
            raise
