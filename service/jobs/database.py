"""The database of the jobs: opened by its URL, guarded, and asked again while it cannot be reached.

    sqlite:////var/lib/mt3/jobs.sqlite     one process only, held by a lock file beside it
    postgresql://user@host/database        any number of processes

SQLite is put into write-ahead logging, because the engine would open it in rollback-journal mode,
which is four times slower (measured: deploy/decisions/0006), and stays at ``synchronous=FULL``:
what was answered with 202 is on the disk. A second process on the same file would run every item
twice; the lock refuses it before it has opened anything, and dies with the process that holds it.

`Database.run` is the one way to the tables: a function on a connection, in one transaction, in a
thread. Where the connection is lost it is run again from its beginning, so it must do nothing but
SQL. Callers of the API wait some seconds; a worker waits until the database is back.
"""

import asyncio
import contextlib
import fcntl
import logging
import os
import random
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any, TypeVar

import sqlalchemy as sa
from sqlalchemy import event, exc

from service.errors import DatabaseInUseError, JobError, JobsUnavailableError
from service.jobs import tables
from service.observability.logging import log_event

PATIENCE_SECONDS = 5.0
"""How long a caller's request waits for a database that is gone: about a restart of Postgres."""
_FIRST_PAUSE_SECONDS = 0.1
_LONGEST_PAUSE_SECONDS = 2.0
_POOL_SIZE = 20
_BUSY_SECONDS = 30
"""SQLite's one writer may be submitting ten thousand items: seconds."""
_SETUP_LOCK = 0x6D743300
"""Of Postgres: who holds it makes the tables. The letters "mt3"."""
_SWEEP_LOCK = _SETUP_LOCK + 1
"""Of Postgres: whose session holds it sweeps."""
_UNAVAILABLE_RETRY_SECONDS = 5
_logger = logging.getLogger(__name__)
T = TypeVar("T")


class Database:
    """One database, open."""

    def __init__(self, url: str) -> None:
        """Opens it, and takes the lock file of SQLite.

        Args:
            url: ``sqlite:///path`` or ``postgresql://...``.

        Raises:
            DatabaseInUseError: Another process holds the SQLite file.
            JobError: The URL names no database that can be used.
        """
        try:
            parsed = sa.make_url(url)
        except exc.ArgumentError as error:
            raise JobError(
                "the database's URL is none; expected sqlite:/// or postgresql://"
            ) from error
        self.is_sqlite = parsed.get_backend_name() == "sqlite"
        self._lock: IO[str] | None = None
        if self.is_sqlite:
            if not parsed.database or parsed.database == ":memory:":
                raise JobError("jobs outlive the process: name a file, sqlite:////folder/jobs.db")
            path = Path(parsed.database)
            path.parent.mkdir(parents=True, exist_ok=True)
            self._lock = _take_lock(path)
            self.engine = _sqlite_engine(parsed)
        elif parsed.get_backend_name() == "postgresql":
            self.engine = sa.create_engine(
                parsed.set(drivername="postgresql+psycopg"),
                pool_size=_POOL_SIZE,
                max_overflow=_POOL_SIZE,
                pool_pre_ping=True,
                connect_args={
                    "connect_timeout": 5,
                    "application_name": "mt3",
                    # A server that is cut off is noticed within half a minute, not in two hours.
                    "keepalives_idle": 10,
                    "keepalives_interval": 5,
                    "keepalives_count": 3,
                },
            )
        else:
            kind = parsed.get_backend_name()
            raise JobError(f"the database is {kind}; expected sqlite or postgresql")
        self.url = parsed.render_as_string(hide_password=False)
        self._sweeping = None if self.is_sqlite else _Turn(self.engine, _SWEEP_LOCK)

    def create_tables(self) -> None:
        """Makes our tables where they are missing, and migrates those of an earlier version.

        Raises:
            JobError: They are of a later version of this code, or of one too early.
        """
        with self.engine.begin() as connection:
            if self.is_sqlite:
                # Its driver begins no transaction before statements that change tables.
                connection.exec_driver_sql("BEGIN IMMEDIATE")
            else:
                connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_SETUP_LOCK)))
            tables.create_tables(connection, time.time())

    async def run(
        self,
        work: Callable[[sa.Connection], T],
        *,
        patience_seconds: float | None = PATIENCE_SECONDS,
    ) -> T:
        """Does some SQL in one transaction, again while the database cannot be reached.

        Args:
            work: Does nothing but SQL on the connection it is given.
            patience_seconds: Tries for so long; absent: until it is done or cancelled.

        Raises:
            JobsUnavailableError: It could not be reached in that time.
        """
        began = time.monotonic()
        pause = _FIRST_PAUSE_SECONDS
        while True:
            try:
                return await asyncio.to_thread(self._transact, work)
            except (exc.DBAPIError, exc.TimeoutError) as error:
                if not is_unreachable(error):
                    raise
                waited = time.monotonic() - began
                if patience_seconds is not None and waited + pause > patience_seconds:
                    log_event(
                        _logger, "database_unreachable", level=logging.WARNING, seconds=waited
                    )
                    raise unavailable() from error
            await asyncio.sleep(pause * random.uniform(0.5, 1.0))  # noqa: S311 (spreads callers)
            pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)

    async def may_sweep(self) -> bool:
        """Says whether this process is the one that sweeps; it stays that, until it ends or fails.

        Raises:
            JobsUnavailableError: The database cannot be reached.
        """
        if self._sweeping is None:
            return True
        try:
            return await asyncio.to_thread(self._sweeping.is_ours)
        except (exc.DBAPIError, exc.TimeoutError) as error:
            if not is_unreachable(error):
                raise
            raise unavailable() from error

    async def let_others_sweep(self) -> None:
        """Gives up what `may_sweep` gave: another process may do better."""
        if self._sweeping is not None:
            await asyncio.to_thread(self._sweeping.give_up)

    async def forget_deleted(self) -> None:
        """Has SQLite drop its log of writes, which still holds what was deleted since."""
        if self.is_sqlite:
            await asyncio.to_thread(self._empty_log)

    def close(self) -> None:
        """Closes all connections and lets go of the lock."""
        if self._sweeping is not None:
            self._sweeping.give_up()
        self.engine.dispose()
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def _empty_log(self) -> None:
        # Outside any transaction; where a reader holds on to the log, the next sweep asks again.
        with self.engine.connect() as connection:
            connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")

    def _transact(self, work: Callable[[sa.Connection], T]) -> T:
        with self.engine.begin() as connection:
            return work(connection)


class _Turn:
    """What one process of all does at a time: a lock of its session in Postgres.

    Postgres lets go of it in the moment in which the session ends, however the process died.
    """

    def __init__(self, engine: sa.Engine, key: int) -> None:
        """Prepares.

        Args:
            engine: Of Postgres; the holder keeps one connection of it.
            key: Of the lock.
        """
        self._engine = engine
        self._key = key
        self._session: sa.Connection | None = None
        self._alone = threading.Lock()

    def is_ours(self) -> bool:
        """Says whether this process has it, after having tried to get it; blocks."""
        with self._alone:
            if self._session is not None:
                try:
                    self._session.execute(sa.text("select 1"))
                except exc.DBAPIError:
                    self._drop()  # the session is gone, and the lock with it
                else:
                    return True
            session = self._engine.connect().execution_options(isolation_level="AUTOCOMMIT")
            self._session = session
            if session.scalar(sa.select(sa.func.pg_try_advisory_lock(self._key))):
                return True
            self._session = None
            session.close()
            return False

    def give_up(self) -> None:
        """Lets another process have it; blocks."""
        with self._alone:
            self._drop()

    def _drop(self) -> None:
        session, self._session = self._session, None
        if session is not None:
            end_session(session)


def end_session(session: sa.Connection) -> None:
    """Ends a session and whatever locks it holds: back in the pool it would keep them."""
    with contextlib.suppress(exc.DBAPIError):
        session.invalidate()
    with contextlib.suppress(exc.DBAPIError):
        session.close()


def unavailable() -> JobsUnavailableError:
    """What a caller is told while the database cannot be reached."""
    return JobsUnavailableError(
        "the database of the jobs cannot be reached; nothing accepted is lost, try again",
        retry_after_seconds=_UNAVAILABLE_RETRY_SECONDS,
    )


def is_unreachable(error: exc.DBAPIError | exc.TimeoutError) -> bool:
    """Says whether the statement may well succeed when the database is there again."""
    if isinstance(error, exc.TimeoutError):
        return True  # all connections are taken
    if error.connection_invalidated or isinstance(error, exc.InterfaceError):
        return True
    # Postgres: no connection, going down, starting up, and transactions that must be run again.
    state = getattr(error.orig, "sqlstate", None)
    if state is not None:
        return str(state).startswith(("08", "57P", "53")) or state in {"40001", "40P01"}
    return isinstance(error, exc.OperationalError) and "no such" not in str(error.orig)


def _take_lock(path: Path) -> IO[str]:
    lock = path.with_name(path.name + ".lock")
    file = lock.open("a+", encoding="utf-8")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        file.seek(0)
        holder = file.read().strip() or "unknown"
        file.close()
        raise DatabaseInUseError(
            f"the jobs' database {path} is in use by process {holder}; SQLite serves one process:"
            " stop that one, give this one another data directory, or use Postgres"
        ) from error
    file.truncate(0)
    file.write(str(os.getpid()))
    file.flush()
    return file


def _sqlite_engine(url: sa.URL) -> sa.Engine:
    engine = sa.create_engine(
        url, pool_size=_POOL_SIZE, max_overflow=_POOL_SIZE, connect_args={"timeout": _BUSY_SECONDS}
    )

    def prepare(connection: Any, record: object) -> None:
        del record
        # Writers take the lock at their beginning: one that read first could not wait for another.
        connection.isolation_level = "IMMEDIATE"
        with contextlib.closing(connection.cursor()) as cursor:
            cursor.execute("PRAGMA journal_mode=WAL")
            cursor.execute("PRAGMA synchronous=FULL")
            cursor.execute(f"PRAGMA busy_timeout={1000 * _BUSY_SECONDS}")
            cursor.execute("PRAGMA foreign_keys=ON")
            # What is deleted is gone from the file, not only from sight.
            cursor.execute("PRAGMA secure_delete=ON")

    event.listen(engine, "connect", prepare)
    return engine
