"""The database of the jobs: opened by its URL, with transactions that are retried.

    sqlite:////var/lib/mt3/jobs.sqlite     one process only, held by a lock file beside it
    postgresql://user@host/database        any number of processes

SQLite is put into write-ahead logging, because DBOS would open it in rollback-journal mode, which
is four times slower (measured: deploy/decisions/0006). It stays at ``synchronous=FULL``, so that
everything answered with 202 is on the disk. A second process on the same file would run every item
twice; `service/database/sqlite_file.py` refuses it, and a damaged file, before anything is served.

`Database.run` is the only access to the tables: it calls a function with a connection, in one
transaction, in a thread. If the connection is lost, the function is called again, so it must do
only SQL. Requests wait some seconds for the database; workers wait until it is back.
`service/database/database_faults.py` classifies its errors.
"""

import asyncio
import contextlib
import itertools
import logging
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import sqlalchemy as sa
from sqlalchemy import event, exc

from service.backoff import backoff_seconds
from service.database.database_faults import DatabaseFault, find_fault, refusal
from service.database.leader_lock import LeaderLock
from service.database.sqlite_file import SqliteFile
from service.errors import JobError, JobsUnavailableError, ServiceError, StorageFullError
from service.observability.logging import log_event

WAIT_SECONDS = 5.0
"""Longest time that a request waits for the database, enough for a restart of Postgres."""
_PAUSES_SECONDS = (0.1, 0.2, 0.4, 0.8, 1.6, 2.0)
_POOL_SIZE = 20
_MAX_PORT = 65_535
_SETUP_LOCK = 0x6D743300
"""The key of the Postgres lock under which tables are created: the letters "mt3"."""
_SWEEP_LOCK = _SETUP_LOCK + 1
"""The key of the Postgres lock whose holder sweeps."""
_UNAVAILABLE_RETRY_SECONDS = 5
_DAMAGED_RETRY_SECONDS = 300
"""``Retry-After`` for a damaged database, which an operator has to repair."""
_logger = logging.getLogger(__name__)
T = TypeVar("T")


class Database:
    """An open database."""

    def __init__(self, url: str) -> None:
        """Open the database; an SQLite file is locked and checked.

        Args:
            url: ``sqlite:///path`` or ``postgresql://...``.

        Raises:
            DatabaseInUseError: another process has the SQLite file open.
            JobError: the URL does not name a usable database, or the file is damaged.
        """
        try:
            parsed = sa.make_url(url)
        except (exc.ArgumentError, ValueError) as error:
            # The error and the URL may hold the password.
            raise JobError(
                "the database's URL is invalid; expected sqlite:/// or postgresql://"
            ) from error
        if parsed.port is not None and not 0 < parsed.port <= _MAX_PORT:
            raise JobError(f"the database's port is {parsed.port}; expected 1 to {_MAX_PORT}")
        self.is_sqlite = parsed.get_backend_name() == "sqlite"
        self._file: SqliteFile | None = None
        if self.is_sqlite:
            if not parsed.database or parsed.database == ":memory:":
                raise JobError(
                    "jobs need a file that outlives the process: sqlite:////folder/jobs.db"
                )
            self._file = SqliteFile(Path(parsed.database))
            parsed = parsed.set(database=str(self._file.path))
            self.engine = self._file.make_engine(parsed)
        elif parsed.get_backend_name() == "postgresql":
            self.engine = sa.create_engine(
                parsed.set(drivername="postgresql+psycopg"),
                pool_size=_POOL_SIZE,
                max_overflow=_POOL_SIZE,
                pool_pre_ping=True,
                connect_args={
                    "connect_timeout": 5,
                    "application_name": "mt3",
                    # A lost connection is noticed within half a minute instead of two hours.
                    "keepalives_idle": 10,
                    "keepalives_interval": 5,
                    "keepalives_count": 3,
                },
            )
        else:
            kind = parsed.get_backend_name()
            raise JobError(f"the database is {kind}; expected sqlite or postgresql")
        self.url = parsed.render_as_string(hide_password=False)
        self.name = str(self._file.path) if self._file else parsed.render_as_string()
        """The database's name in messages: the file, or the URL without its password."""
        self.damage: str | None = None
        """The damage found since the database was opened; kept until the process ends."""
        self._sweep_lock = None if self.is_sqlite else LeaderLock(self.engine, _SWEEP_LOCK)

    def create_tables(self, prepare: Callable[[sa.Connection, float], None]) -> None:
        """Create or migrate the tables, in one transaction that excludes other processes.

        Args:
            prepare: creates the tables, given a connection and the time (seconds since 1970).

        Raises:
            JobError: the tables are of a later version, of one too early, or not ours.
        """
        with self.engine.begin() as connection:
            if self.is_sqlite:
                # Its driver begins no transaction before statements that change tables.
                connection.exec_driver_sql("BEGIN IMMEDIATE")
            else:
                connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_SETUP_LOCK)))
            try:
                prepare(connection, time.time())
            except JobError as error:
                raise JobError(f"{error} ({self.name})") from error

    def opening_refusal(self, error: exc.DBAPIError) -> JobError | None:
        """Return the error for a database that cannot be opened; None for any other fault.

        Args:
            error: the error of creating the tables.
        """
        reason = str(error.orig).partition("\n")[0]
        match find_fault(error):
            case DatabaseFault.FULL:
                return JobError(
                    f"the disk of the jobs' database {self.name} is full: free some space, then"
                    " start again"
                )
            case DatabaseFault.DAMAGED:
                return JobError(
                    f"the jobs' database {self.name} is damaged: {reason}; restore a backup"
                    " (deploy/operations.md)"
                )
            case DatabaseFault.UNREACHABLE:
                refused = None if self.is_sqlite else refusal(error)
                return None if refused is None else JobError(
                    f"the jobs' database {self.name} refuses access: {refused}; correct the user,"
                    " password or database in MT3_DATABASE_URL"
                )  # fmt: skip
            case DatabaseFault.OTHER:
                return JobError(f"the jobs' database {self.name} cannot be used: {reason}")

    async def run(
        self,
        work: Callable[[sa.Connection], T],
        *,
        wait_seconds: float | None = WAIT_SECONDS,
        is_deletion: bool = False,
    ) -> T:
        """Run SQL in one transaction; retry while the database cannot be reached.

        Args:
            work: does only SQL on the given connection.
            wait_seconds: how long to retry; None: until it succeeds or is canceled.
            is_deletion: whether the work frees space: on a full disk, the file's reserve is then
                released.

        Raises:
            JobsUnavailableError: the database could not be reached in that time, or is damaged.
            StorageFullError: there is no space to write; nothing was written.
        """
        began = time.monotonic()
        is_logged = False
        for failures in itertools.count(1):
            pause = backoff_seconds(failures, _PAUSES_SECONDS, spread=0.5)
            try:
                return await asyncio.to_thread(self._transact, work)
            except (exc.DBAPIError, exc.TimeoutError) as error:
                fault = find_fault(error)
                if fault is DatabaseFault.OTHER:
                    raise
                if fault is DatabaseFault.FULL and is_deletion and self.release_reserve():
                    continue
                waited = time.monotonic() - began
                may_wait = fault is DatabaseFault.UNREACHABLE and (
                    wait_seconds is not None and waited + pause <= wait_seconds
                )
                # A worker waits for any repair, and logs the reason once.
                if not may_wait and (wait_seconds is not None or not is_logged):
                    refused = self.translated(error)
                    is_logged = True
                    if refused is not None and wait_seconds is not None:
                        raise refused from error
            await asyncio.sleep(pause)
        raise AssertionError("the loop ends by its result or an error")

    def translated(self, error: exc.DBAPIError | exc.TimeoutError) -> ServiceError | None:
        """Translate an error of the database for callers; return None for a fault of this code.

        Args:
            error: the error; damage is also logged, and kept in `damage`.
        """
        reason = str(getattr(error, "orig", error)).partition("\n")[0]
        match find_fault(error):
            case DatabaseFault.UNREACHABLE:
                log_event(_logger, "database_unreachable", level=logging.WARNING, reason=reason)
                return unavailable()
            case DatabaseFault.FULL:
                log_event(_logger, "database_full", level=logging.ERROR, reason=reason)
                return StorageFullError(
                    "the disk of the jobs' database is full, or its quota is reached; nothing was"
                    " written: delete jobs that are no longer needed, or free some space"
                )
            case DatabaseFault.DAMAGED:
                if self.damage is None:
                    log_event(
                        _logger, "database_damaged", level=logging.ERROR,
                        database=self.name, reason=reason,
                    )  # fmt: skip
                self.damage = reason
                return damaged()
            case DatabaseFault.OTHER:
                return None

    def release_reserve(self) -> bool:
        """Release the disk space held in reserve; return whether there was any."""
        return self._file is not None and self._file.release_reserve()

    async def acquire_sweep_lock(self) -> bool:
        """Return whether this process sweeps; it keeps the lock until it ends or fails.

        Raises:
            JobsUnavailableError: The database cannot be reached.
        """
        if self._sweep_lock is None:
            return True
        return await self.call(self._sweep_lock.acquire)

    async def call(self, work: Callable[[], T], *, is_deletion: bool = False) -> T:
        """Await blocking work that has its own connections, such as that of DBOS's client.

        Args:
            work: runs in a thread, and once more if the reserve had to be released.
            is_deletion: see `run`.

        Raises:
            JobsUnavailableError: the database cannot be reached, or is damaged.
            StorageFullError: there is no space to write.
        """
        while True:
            try:
                return await asyncio.to_thread(work)
            except (exc.DBAPIError, exc.TimeoutError) as error:
                is_full = find_fault(error) is DatabaseFault.FULL
                if is_full and is_deletion and self.release_reserve():
                    continue
                refused = self.translated(error)
                if refused is None:
                    raise
                raise refused from error

    async def release_sweep_lock(self) -> None:
        """Release the sweep lock, so that another process may sweep."""
        if self._sweep_lock is not None:
            await asyncio.to_thread(self._sweep_lock.release)

    async def forget_deleted(self) -> None:
        """Truncate SQLite's write-ahead log, which still holds deleted data."""
        if self._file is not None:
            with contextlib.suppress(StorageFullError):  # the next sweep will, when there is room
                await self.call(self._empty_log)
            await asyncio.to_thread(self._file.restore_reserve)

    def close(self) -> None:
        """Close all connections, and unlock the file."""
        if self._sweep_lock is not None:
            self._sweep_lock.release()
        # A connection that another thread still uses is closed when the thread returns it.
        event.listen(self.engine, "checkin", _close_returned)
        self.engine.dispose()
        if self._file is not None:
            self._file.close()

    def _empty_log(self) -> None:
        # Outside any transaction. If a reader still uses the log, the next sweep truncates it.
        with self.engine.connect() as connection:
            connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")

    def _transact(self, work: Callable[[sa.Connection], T]) -> T:
        with self.engine.begin() as connection:
            return work(connection)


def unavailable() -> JobsUnavailableError:
    """Make the error for callers while the database cannot be reached."""
    return JobsUnavailableError(
        "the database of the jobs cannot be reached; nothing accepted is lost, try again",
        retry_after_seconds=_UNAVAILABLE_RETRY_SECONDS,
    )


def unreachable(name: str, reason: str) -> JobsUnavailableError:
    """Make the error for operators of a database that does not answer at the start."""
    return JobsUnavailableError(
        f"the jobs' database {name} cannot be reached: {reason}; start it, or correct"
        " MT3_DATABASE_URL",
        retry_after_seconds=_UNAVAILABLE_RETRY_SECONDS,
    )


def damaged() -> JobsUnavailableError:
    """Make the error for callers of a database that needs to be repaired."""
    return JobsUnavailableError(
        "the database of the jobs is damaged (the server's log has details); it must be repaired"
        " before jobs can be accepted or read",
        retry_after_seconds=_DAMAGED_RETRY_SECONDS,
    )


def _close_returned(_: object, entry: sa.pool.ConnectionPoolEntry) -> None:
    entry.close()
