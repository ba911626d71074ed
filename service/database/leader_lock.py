"""A lock that one process of a deployment holds: an advisory lock of a Postgres session.

Postgres releases it the moment the session ends, however the process died.
"""

import contextlib
import threading

import sqlalchemy as sa
from sqlalchemy import exc


class LeaderLock:
    """The lock for work that only one process at a time may do."""

    def __init__(self, engine: sa.Engine, key: int) -> None:
        """Prepare the lock; `acquire` takes it.

        Args:
            engine: the engine of a Postgres database; the holder keeps one of its connections.
            key: the key of the advisory lock.
        """
        self._engine = engine
        self._key = key
        self._session: sa.Connection | None = None
        self._mutex = threading.Lock()

    def acquire(self) -> bool:
        """Return whether this process holds the lock, after trying to get it; blocks."""
        with self._mutex:
            if self._session is not None:
                try:
                    self._session.execute(sa.text("select 1"))
                except exc.DBAPIError:
                    self._drop_session()  # the session is gone, and the lock with it
                else:
                    return True
            session = self._engine.connect().execution_options(isolation_level="AUTOCOMMIT")
            self._session = session
            if session.scalar(sa.select(sa.func.pg_try_advisory_lock(self._key))):
                return True
            self._session = None
            session.close()
            return False

    def release(self) -> None:
        """Release the lock; blocks."""
        with self._mutex:
            self._drop_session()

    def _drop_session(self) -> None:
        session, self._session = self._session, None
        if session is not None:
            end_session(session)


def end_session(session: sa.Connection) -> None:
    """End a session, and with it its locks, which it would keep in the pool."""
    with contextlib.suppress(exc.DBAPIError):
        session.invalidate()
    with contextlib.suppress(exc.DBAPIError):
        session.close()
