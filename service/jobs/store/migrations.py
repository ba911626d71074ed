"""Tables of an earlier version -> those of the next, one step at a time.

Each step is the SQL of its day and names nothing of `service/jobs/store/tables.py`, which goes on
changing. All steps and the new version's number are one transaction, on SQLite too: a process that
is killed between them leaves what was there. What a step adds may be absent (NULL): a process of
the version before, which may still run while this one starts, does not write it.
"""

from collections.abc import Callable, Mapping

import sqlalchemy as sa

Migration = Callable[[sa.Connection, float], None]
"""Changes the tables. Is given the time: seconds since 1970."""


def _note_retention_and_readiness(connection: sa.Connection, now: float) -> None:
    """Migrate from version 1 to 2: add the retention of jobs and the queueing time of items.

    An item that was queued again, at a time that was not recorded, waits from now.
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
"""From a version -> the step to the next."""
