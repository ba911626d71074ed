"""The SQLite file of the jobs: locked, checked before use, with disk space in reserve.

one process    a lock (flock) on the file itself, which links to it and copies of its name share,
               and one on ``<file>.lock``, which holds the process id and excludes versions of
               this code that lock nothing else
checked        header and ``PRAGMA quick_check`` at the start, so that damage is named there and
               not by every request; and at each use that the path still leads to this file
reserve        ``<file>.reserve``, released when the disk is full: a deletion must be logged before
               it frees anything
"""

import contextlib
import fcntl
import os
import sqlite3
from pathlib import Path
from typing import IO, Any

import sqlalchemy as sa
from sqlalchemy import event

from service.database.database_faults import FILE_MOVED
from service.errors import DatabaseInUseError, JobError

_HEADER = b"SQLite format 3\x00"
_POOL_SIZE = 20
_BUSY_SECONDS = 30
"""Time to wait for another writer, which may be submitting ten thousand items."""
_LEAST_RESERVE_BYTES = 512 * 1024
_MOST_RESERVE_BYTES = 8 * 2**20
"""Size of the write-ahead log for the deletion of thousands of items."""
_RESERVE_PARTS = 16
"""On a small disk, the reserve is at most one part in this many of the free space."""


class SqliteFile:
    """A file that this process has locked until `close`."""

    def __init__(self, path: Path) -> None:
        """Lock and check the file; create it if it is missing.

        Args:
            path: the file, possibly through links.

        Raises:
            DatabaseInUseError: another process has it open.
            JobError: it is not a database, is damaged, or cannot be opened; the message names it.
        """
        self.path = path.resolve()
        self._reserve = self.path.with_name(self.path.name + ".reserve")
        self._locks: list[IO[bytes]] = []
        try:
            self._take()
            self._check()
            self.restore_reserve()
        except BaseException:
            self.close()
            raise

    def make_engine(self, url: sa.URL) -> sa.Engine:
        """Create SQLAlchemy's engine for the file.

        Args:
            url: the file's URL.
        """
        engine = sa.create_engine(
            url.set(database=str(self.path)),
            pool_size=_POOL_SIZE,
            max_overflow=_POOL_SIZE,
            connect_args={"timeout": _BUSY_SECONDS},
        )

        def require(*arguments: object) -> None:
            del arguments
            self._require_in_place()

        event.listen(engine, "do_connect", require)  # which would create a new file
        event.listen(engine, "checkout", require)
        event.listen(engine, "connect", _prepare)
        return engine

    def release_reserve(self) -> bool:
        """Release the reserve for a few writes to a full disk; return whether there was one."""
        try:
            self._reserve.unlink()
        except OSError:
            return False
        return True

    def restore_reserve(self) -> None:
        """Create the reserve if it is missing and the disk has room."""
        with contextlib.suppress(OSError):
            if self._reserve.exists():
                return
            disk = os.statvfs(self.path.parent)
            free_bytes = disk.f_bavail * disk.f_frsize
            size = min(_MOST_RESERVE_BYTES, free_bytes // _RESERVE_PARTS)
            size = max(size, _LEAST_RESERVE_BYTES)
            if free_bytes < 2 * size:
                return
            descriptor = os.open(self._reserve, os.O_WRONLY | os.O_CREAT, 0o600)
            try:
                os.posix_fallocate(descriptor, 0, size)
            except OSError:
                self._reserve.unlink()
                raise
            finally:
                os.close(descriptor)

    def close(self) -> None:
        """Unlock the file. All connections must be closed before."""
        # Not earlier: closing any descriptor of the file drops the locks of SQLite's own.
        for lock in self._locks:
            lock.close()
        self._locks = []

    def _take(self) -> None:
        if self.path.is_dir():
            raise JobError(
                f"the jobs' database {self.path} is a folder; expected a SQLite file: name one with"
                " MT3_DATABASE_URL, or move the folder away"
            )
        folder = self.path.parent
        if folder.exists() and not folder.is_dir():
            raise JobError(
                f"the jobs' database {self.path} cannot be opened: {folder} is a file; expected a"
                " folder"
            )
        lock_path = self.path.with_name(self.path.name + ".lock")
        try:
            folder.mkdir(parents=True, exist_ok=True)
            lock = lock_path.open("a+b")
            self._locks.append(lock)
            _lock(lock, self.path, lock)
            self._locks.append(self.path.open("a+b"))
        except OSError as error:
            raise JobError(
                f"the jobs' database {self.path} cannot be opened: {error.strerror or error};"
                " expected a file in a folder that this process may write to"
            ) from error
        _lock(self._locks[-1], self.path, lock)
        with contextlib.suppress(OSError):  # of a full disk: the number is only for the message
            lock.truncate(0)
            lock.write(str(os.getpid()).encode())
            lock.flush()

    def _check(self) -> None:
        file = self._locks[-1]
        file.seek(0)
        head = file.read(len(_HEADER))
        if head and head != _HEADER:
            raise JobError(
                f"the jobs' database {self.path} is not a SQLite database, or its header is"
                f" damaged: it begins with {head!r}; {_WHAT_TO_DO}"
            )
        try:
            found = self._quick_check()
        except sqlite3.Error as error:
            if error.sqlite_errorcode == sqlite3.SQLITE_FULL and self.release_reserve():
                self._check()
                return
            raise JobError(_check_failure(self.path, error)) from error
        if found != "ok":
            raise JobError(f"the jobs' database {self.path} is damaged: {found}; {_WHAT_TO_DO}")

    def _quick_check(self) -> str:
        with contextlib.closing(sqlite3.connect(self.path, timeout=_BUSY_SECONDS)) as connection:
            rows = connection.execute("PRAGMA quick_check(1)").fetchall()
        return "; ".join(str(row[0]).replace("\n", " ") for row in rows)

    def _require_in_place(self) -> None:
        """Check that the file is still at its path.

        Raises:
            sqlite3.OperationalError: with SQLite's own code for a moved file, which
                `database_faults.py` classifies.
        """
        if not self._locks:
            return  # the process is ending
        held = os.fstat(self._locks[-1].fileno())
        try:
            there = self.path.stat()
        except OSError:
            there = None
        if there is None or (there.st_dev, there.st_ino) != (held.st_dev, held.st_ino):
            error = sqlite3.OperationalError(f"{self.path} was deleted, moved or replaced")
            error.sqlite_errorcode = FILE_MOVED
            raise error


_WHAT_TO_DO = (
    "restore a backup (deploy/operations.md), or move it away to begin with an empty database"
)


def _check_failure(path: Path, error: sqlite3.Error) -> str:
    match error.sqlite_errorcode & 0xFF:
        case sqlite3.SQLITE_CORRUPT | sqlite3.SQLITE_NOTADB:
            return f"the jobs' database {path} is damaged: {error}; {_WHAT_TO_DO}"
        case sqlite3.SQLITE_FULL:
            return f"the disk of the jobs' database {path} is full: free some space, start again"
        case sqlite3.SQLITE_BUSY | sqlite3.SQLITE_LOCKED:
            return f"the jobs' database {path} is locked by another program: close it, start again"
        case _:
            return (
                f"the jobs' database {path} cannot be opened: {error}; expected a file, and"
                f" space beside it for {path.name}-wal and {path.name}-shm"
            )


def _lock(file: IO[bytes], path: Path, holder: IO[bytes]) -> None:
    # filelock opens its file itself, and closing a second descriptor of SQLite's file drops
    # SQLite's own locks (https://sqlite.org/howtocorrupt.html, 2.2).
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        holder.seek(0)
        process = holder.read().decode("ascii", "replace").strip() or "unknown"
        raise DatabaseInUseError(
            f"the jobs' database {path} is in use by process {process}; SQLite serves one process:"
            " stop that one, use another data directory for this one, or use Postgres"
        ) from error


def _prepare(connection: Any, record: object) -> None:
    """Set up a new connection."""
    del record
    # Transactions take the write lock when they begin: one that has read first could not wait for
    # it.
    connection.isolation_level = "IMMEDIATE"
    with contextlib.closing(connection.cursor()) as cursor:
        cursor.execute("PRAGMA journal_mode=WAL")
        cursor.execute("PRAGMA synchronous=FULL")
        cursor.execute(f"PRAGMA busy_timeout={1000 * _BUSY_SECONDS}")
        cursor.execute("PRAGMA foreign_keys=ON")
        # Deleted data is overwritten in the file.
        cursor.execute("PRAGMA secure_delete=ON")
