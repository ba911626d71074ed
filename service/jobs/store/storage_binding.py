"""Bind the jobs' database to its storage, by an id that both keep.

The sweep deletes objects that belong to no job. If the database was lost or emptied, or belongs to
another deployment, that would be every recording and every result. So the database has a deployment
id from the creation of its tables, the storage has the same id in `MARKER_KEY`, and orphans are
deleted only if both are equal.

    both the same                             nothing to do
    neither bound yet, storage empty          the marker is written, which only one database can do
    neither bound, or one, and the storage    a deployment of an earlier version, or a backup: they
      holds objects of the database's jobs      are bound automatically
    anything else                             refused, until an operator sets `is_adopted`

A marker that cannot be read does not count as missing: the check is then repeated later.
"""

import contextlib
import json
import logging
import time
from collections.abc import Callable
from typing import Any

import sqlalchemy as sa

from service.database.database import Database
from service.errors import StorageError, StorageMismatchError
from service.jobs.job import JobState, job_prefix
from service.jobs.store.tables import deployments, items, jobs
from service.observability.logging import log_event
from service.storage.objects import Objects

MARKER_KEY = "mt3-deployment.json"
JOBS_PREFIX = "jobs"
_logger = logging.getLogger(__name__)
_LOOKED_UP_JOBS = 50
"""The number of the latest jobs whose objects are looked for in the storage."""
_ADVICE = (
    "nothing was changed: name a storage and a database that belong together"
    " (MT3_STORAGE_URL, MT3_DATABASE_URL, MT3_DATA_DIR), restore the one that was lost, or name"
    " an empty storage; to use these two together anyway, start once with"
    " MT3_ADOPT_STORAGE=true, which deletes all objects in the storage that belong to no job of"
    " this database"
)


class StorageBinding:
    """The storage of one process, and the check that it belongs to the database."""

    def __init__(
        self,
        objects: Objects,
        *,
        storage_name: str,
        is_adopted: bool = False,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Initialize; `bind` checks the storage.

        Args:
            objects: the storage.
            storage_name: the storage's URL, for messages.
            is_adopted: whether to accept this storage, whatever it holds.
            clock: returns the time, seconds since 1970.
        """
        self.is_adopted = is_adopted
        self.fault: str | None = None
        """The reason why the storage does not belong to the database, from the last `is_bound`."""
        self._objects = objects
        self._storage_name = storage_name
        self._clock = clock

    def bind_if_reachable(self, database: Database) -> None:
        """Bind storage and database at the start, unless the storage is unavailable; blocks.

        Raises:
            StorageMismatchError: The storage does not belong to the database.
        """
        try:
            self.bind(database)
        except StorageMismatchError:
            raise
        except StorageError as error:
            # Until the storage answers, no orphan is removed; each sweep checks again.
            log_event(_logger, "storage_not_checked", level=logging.WARNING, reason=str(error))

    def is_bound(self, database: Database) -> bool:
        """Return whether the storage certainly belongs to the database; blocks.

        If not, `fault` says why.
        """
        try:
            self.bind(database)
        except StorageMismatchError as error:
            self.fault = str(error)
            log_event(_logger, "storage_mismatch", level=logging.ERROR, reason=str(error))
            return False
        except StorageError as error:
            log_event(_logger, "storage_not_checked", level=logging.WARNING, reason=str(error))
            return False
        self.fault = None
        return True

    def bind(self, database: Database) -> None:
        """Check that the storage belongs to the database, or bind them; blocks.

        Args:
            database: an open database with our tables.

        Raises:
            StorageMismatchError: it does not.
            StorageError: the storage cannot be read, or the marker cannot be written.
        """
        with database.engine.begin() as connection:
            row = connection.execute(sa.select(deployments)).one()
        marker = self._read_marker()
        if marker is not None and marker == row.deployment_id:
            if row.bound_at is None:
                self._note(database, marker)
            return
        if not self.is_adopted:
            with database.engine.begin() as connection:
                expected = _jobs_with_objects(connection)
            self._require_match(row, marker, expected, database.name)
        if marker is None:
            marker = row.deployment_id
            content = json.dumps({"deployment_id": row.deployment_id}).encode()
            # If two databases try at the same time, one creates the marker; the other finds its id.
            self._objects.create_now(MARKER_KEY, content)
            if self._read_marker() != marker:
                raise StorageMismatchError(
                    f"another deployment began to use the storage {self._storage_name} at the same"
                    f" moment; {_ADVICE}"
                )
        self._note(database, marker)

    def _read_marker(self) -> str | None:
        content = self._objects.read_now(MARKER_KEY)
        if content is None:
            return None
        with contextlib.suppress(ValueError, TypeError, KeyError, RecursionError):
            return str(json.loads(content)["deployment_id"])
        raise StorageMismatchError(
            f"{MARKER_KEY} in the storage {self._storage_name} cannot be read; expected the"
            " JSON that this service wrote: restore it, or remove it"
        )

    def _note(self, database: Database, deployment_id: str) -> None:
        with database.engine.begin() as connection:
            connection.execute(
                sa.update(deployments).values(deployment_id=deployment_id, bound_at=self._clock())
            )

    def _require_match(
        self, row: sa.Row[Any], marker: str | None, expected: list[str], database_name: str
    ) -> None:
        """Refuse a storage that does not certainly belong to the database.

        Args:
            row: the database's own record of its storage.
            marker: the deployment id in the storage; None if there is none.
            expected: jobs of the database that must have objects.
            database_name: the database's name, for messages.
        """
        names = f"the storage {self._storage_name} and the database {database_name}"
        if marker is not None and row.bound_at is not None:
            raise StorageMismatchError(
                f"{names} belong to different deployments ({marker} and {row.deployment_id});"
                f" {_ADVICE}"
            )
        if any(self._objects.holds_now(job_prefix(job_id)) for job_id in expected):
            return
        if expected:
            raise StorageMismatchError(
                f"{names} do not belong together: the storage has no objects of the database's"
                f" jobs; {_ADVICE}"
            )
        if row.bound_at is not None:
            raise StorageMismatchError(
                f"{names} do not belong together: the storage has no {MARKER_KEY}, and this"
                f" database was used with one that has; {_ADVICE}"
            )
        is_other = marker is not None
        if is_other or (row.began_empty and self._objects.holds_now(JOBS_PREFIX)):
            raise StorageMismatchError(
                f"{names} do not belong together: the database holds no jobs, and the storage is"
                f" {f'that of deployment {marker}' if is_other else 'not empty'}; {_ADVICE}"
            )


def _jobs_with_objects(connection: sa.Connection) -> list[str]:
    """Return the latest jobs that must have objects in the storage."""
    is_kept = sa.or_(items.c.source_kind == "upload", items.c.state == JobState.SUCCEEDED.value)
    return list(
        connection.scalars(
            sa.select(jobs.c.job_id)
            .where(
                jobs.c.deleted_at.is_(None),
                sa.exists().where(items.c.job_id == jobs.c.job_id, is_kept),
            )
            .order_by(jobs.c.created_at.desc())
            .limit(_LOOKED_UP_JOBS)
        )
    )
