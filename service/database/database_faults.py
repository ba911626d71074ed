"""Classify errors of the database: unreachable, full, damaged, or a fault of this code.

SQLite gives a number, and Postgres an SQLSTATE or, without a session, only a text.
"""

import enum
import sqlite3

from sqlalchemy import exc

FILE_MOVED = 1032
"""SQLITE_READONLY_DBMOVED, which Python's module does not name."""
_REFUSED_SESSION = (
    "password authentication failed",
    "no password supplied",
    "no pg_hba.conf entry",
    "authentication failed",
)


class DatabaseFault(enum.Enum):
    """A class of database errors, by what can be done about them."""

    UNREACHABLE = "unreachable"
    """A retry may succeed."""
    FULL = "full"
    """There is no space to write; nothing was written."""
    DAMAGED = "damaged"
    """The file or the tables are damaged; an operator must repair them."""
    OTHER = "other"
    """A statement is wrong, or breaks a constraint."""


_OF_SQLITE = {
    sqlite3.SQLITE_FULL: DatabaseFault.FULL,
    sqlite3.SQLITE_CORRUPT: DatabaseFault.DAMAGED,
    sqlite3.SQLITE_NOTADB: DatabaseFault.DAMAGED,
    sqlite3.SQLITE_BUSY: DatabaseFault.UNREACHABLE,
    sqlite3.SQLITE_LOCKED: DatabaseFault.UNREACHABLE,
    sqlite3.SQLITE_PROTOCOL: DatabaseFault.UNREACHABLE,
    sqlite3.SQLITE_IOERR: DatabaseFault.UNREACHABLE,
    sqlite3.SQLITE_CANTOPEN: DatabaseFault.UNREACHABLE,
    sqlite3.SQLITE_READONLY: DatabaseFault.UNREACHABLE,
    FILE_MOVED: DatabaseFault.DAMAGED,
    # SQLITE_IOERR_SHORT_READ: the file was cut off.
    522: DatabaseFault.DAMAGED,
    # SQLITE_IOERR_WRITE, _SHMOPEN and _SHMSIZE: a full disk or quota may cause them.
    778: DatabaseFault.FULL,
    4618: DatabaseFault.FULL,
    4874: DatabaseFault.FULL,
}
"""By extended code, or else by its low byte."""
_OF_POSTGRES = {
    "53100": DatabaseFault.FULL,
    "42P01": DatabaseFault.DAMAGED,  # no such table
    "3F000": DatabaseFault.DAMAGED,  # no such schema
    "XX001": DatabaseFault.DAMAGED,  # a damaged page
    "XX002": DatabaseFault.DAMAGED,  # a damaged index
    # Transactions that must be retried.
    "40001": DatabaseFault.UNREACHABLE,
    "40P01": DatabaseFault.UNREACHABLE,
    # No connection; going down, or starting up; no resources.
    "08": DatabaseFault.UNREACHABLE,
    "57P": DatabaseFault.UNREACHABLE,
    "53": DatabaseFault.UNREACHABLE,
}
"""By SQLSTATE, or else by its first three or two characters."""


def find_fault(error: exc.DBAPIError | exc.TimeoutError) -> DatabaseFault:
    """Return the class of an error."""
    if isinstance(error, exc.TimeoutError):
        return DatabaseFault.UNREACHABLE  # all connections are taken
    if isinstance(error.orig, sqlite3.Error):
        return _find_sqlite_fault(error.orig)
    state = str(getattr(error.orig, "sqlstate", None) or "")
    for known in (state, state[:3], state[:2]):
        if known in _OF_POSTGRES:
            return _OF_POSTGRES[known]
    is_lost = error.connection_invalidated or isinstance(error, exc.InterfaceError)
    if is_lost or (not state and isinstance(error, exc.OperationalError)):
        return DatabaseFault.UNREACHABLE
    return DatabaseFault.OTHER


def refusal(error: exc.DBAPIError | exc.TimeoutError) -> str | None:
    """Return the reason why Postgres permanently refuses sessions; None for other errors."""
    words = " ".join(str(getattr(error, "orig", error)).split())
    _, _, reason = words.rpartition("FATAL: ")
    is_missing = "does not exist" in reason and ("database" in reason or "role" in reason)
    if is_missing or any(refused in words for refused in _REFUSED_SESSION):
        return reason.strip() or words
    return None


def _find_sqlite_fault(error: sqlite3.Error) -> DatabaseFault:
    code: int | None = getattr(error, "sqlite_errorcode", None)
    if code is None:  # raised by Python's module itself
        return DatabaseFault.OTHER
    if code == sqlite3.SQLITE_ERROR and "no such" in str(error):
        return DatabaseFault.DAMAGED  # a table or column no longer exists
    return _OF_SQLITE.get(code) or _OF_SQLITE.get(code & 0xFF) or DatabaseFault.OTHER
