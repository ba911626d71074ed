"""Migrate the tables of an earlier version, one version at a time.

Each step is plain SQL and uses nothing of `service/jobs/store/tables.py`, which keeps changing. All
steps and the new version number are one transaction, on SQLite too, so a process that is killed in
between changes nothing. New columns may be NULL, because a process of the previous version may
still run and does not write them.
"""

from collections.abc import Callable, Mapping

import sqlalchemy as sa

Migration = Callable[[sa.Connection, float], None]
"""Changes the tables; takes the time in seconds since 1970."""


def _note_retention_and_readiness(connection: sa.Connection, now: float) -> None:
    """Migrate from version 1 to 2: add the retention of jobs and the queueing time of items.

    For an item that was queued again, at a time that was not recorded, the time is now.
    """
    for statement in (
        "alter table mt3_job add column retention_seconds float",
        "update mt3_job set retention_seconds = expires_at - created_at",
        "alter table mt3_item add column ready_at float",
        "create index mt3_item_by_ready on mt3_item (job_id, state, ready_at)",
    ):
        connection.execute(sa.text(statement))
    connection.execute(
        sa.text(
            "update mt3_item set ready_at = case when run > 0 then :now else"
            " (select created_at from mt3_job where mt3_job.job_id = mt3_item.job_id) end"
            " where state in ('queued', 'processing')"
        ),
        {"now": now},
    )


MIGRATIONS: Mapping[int, Migration] = {1: _note_retention_and_readiness}
"""Version -> the step to the next version."""
