"""Removes jobs whole: objects, the engine's rows, ours; on their owner's word or when they expire.

In that order, so that a process that dies in between leaves a job that can still be found, and the
next sweep goes on. A job of which a worker has an item in hands first loses its objects and all
that its owner gave (names, metadata, keys) and cannot be seen any more; its bare rows go when the
worker has let go. What a dead process left in the storage, uploads of a job never submitted or a
result never noted, is found by its age and by belonging to no job.
"""

import dataclasses

import sqlalchemy as sa

from service.jobs.dbos_tasks import TaskQueue
from service.jobs.job import UNFINISHED, ItemRun, JobState
from service.jobs.store.job_store import cancel_items
from service.jobs.store.tables import items, jobs
from service.webhooks import outbox

LETTING_GO_SECONDS = 30.0
"""Within which a worker has noticed that an item of its was canceled: seconds, usually one."""
LONGEST_PAUSE_SECONDS = 600.0
"""Between two tries of an item: more than the longest of `WorkerOptions.retry_delays_seconds`."""
ORPHAN_SECONDS = 24 * 3_600.0
"""Objects that belong to no job are left alone for so long: an upload may still be running."""
_UNFINISHED = [state.value for state in UNFINISHED]


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Hidden:
    """The work left after a job has been hidden."""

    canceled: list[ItemRun]
    """Runs whose tasks are to be canceled."""
    is_processing: bool
    """A worker may be working on one of its items."""


def hide(
    connection: sa.Connection, job_id: str, now: float, *, only_expired: bool = False
) -> Hidden | None:
    """Make a job invisible and wipes what its owner gave.

    Args:
        connection: a connection inside a transaction.
        job_id: the job's id.
        now: the current time, seconds since 1970.
        only_expired: Unless its owner retried it since `expired` gave it, or somebody hid it.

    Returns:
        What is left to do; None: it stays as it was.
    """
    condition = _is_expired(now) if only_expired else jobs.c.deleted_at.is_(None)
    changed = connection.execute(
        sa.update(jobs)
        .where(jobs.c.job_id == job_id, condition)
        .values(
            deleted_at=now, state=JobState.CANCELED.value, idempotency_key=None, body_hash=None,
            metadata="{}", tenant="",
        )
    )  # fmt: skip
    if only_expired and changed.rowcount == 0:
        return None
    outbox.forget(connection, job_id)
    # In this item_run: what a worker begins in between is found by the second.
    waiting = cancel_items(connection, job_id, now, JobState.QUEUED)
    at_work = cancel_items(connection, job_id, now, JobState.PROCESSING)
    connection.execute(
        sa.update(items)
        .where(items.c.job_id == job_id)
        .values(name=None, source_reference="", error_message=None, error_code=None, warnings=None)
    )
    return Hidden(canceled=waiting + at_work, is_processing=bool(at_work))


def all_runs(connection: sa.Connection, job_id: str) -> list[ItemRun]:
    """Return every run of a job's items."""
    rows = connection.execute(
        sa.select(items.c.number, items.c.run).where(items.c.job_id == job_id)
    )
    return [
        ItemRun(job_id=job_id, number=row.number, run=run)
        for row in rows
        for run in range(row.run + 1)
    ]


def remove_rows(connection: sa.Connection, job_id: str) -> None:
    """Removes our rows of a job."""
    outbox.forget(connection, job_id)
    connection.execute(sa.delete(items).where(items.c.job_id == job_id))
    connection.execute(sa.delete(jobs).where(jobs.c.job_id == job_id))


def expired(connection: sa.Connection, now: float, limit: int) -> list[str]:
    """Return jobs that have ended, are past their time and not yet hidden.

    What waits behind a long backlog does not expire: its owner has not seen a result.
    """
    return list(
        connection.scalars(
            sa.select(jobs.c.job_id)
            .where(_is_expired(now))
            .order_by(jobs.c.expires_at)
            .limit(limit)
        )
    )


def _is_expired(now: float) -> sa.ColumnElement[bool]:
    return sa.and_(
        jobs.c.expires_at <= now, jobs.c.deleted_at.is_(None), jobs.c.state.not_in(_UNFINISHED)
    )


def hidden(connection: sa.Connection, now: float, limit: int) -> list[str]:
    """Return hidden jobs that every worker has let go of."""
    return list(
        connection.scalars(
            sa.select(jobs.c.job_id)
            .where(
                sa.or_(
                    jobs.c.deleted_at <= now - LETTING_GO_SECONDS,
                    jobs.c.deleted_at > now + LETTING_GO_SECONDS,  # the clock was set back
                )
            )
            .limit(limit)
        )
    )


def existing(connection: sa.Connection, job_ids: list[str]) -> set[str]:
    """Return those of the jobs that there are."""
    return set(connection.scalars(sa.select(jobs.c.job_id).where(jobs.c.job_id.in_(job_ids))))


def unfinished_before(
    connection: sa.Connection,
    state: JobState,
    before: float,
    *,
    after: tuple[str, int] | None,
    limit: int,
) -> list[tuple[ItemRun, str]]:
    """Return items, with their tenant, whose order should long be known to the engine; by key.

    Args:
        connection: a connection inside a transaction.
        state: the items' state, one of the unfinished ones.
        before: Begun, or, never begun, submitted before then. Seconds since 1970.
        after: Job and number of the last item of the page before; absent: from the first.
        limit: the largest number to return.
    """
    # What was begun later than now was begun before the clock was set back.
    begun_at = sa.func.coalesce(items.c.started_at, jobs.c.created_at)
    query = (
        sa.select(items.c.job_id, items.c.number, items.c.run, jobs.c.tenant)
        .join_from(items, jobs)
        .where(
            items.c.state == state.value,
            jobs.c.state.in_(_UNFINISHED),
            sa.or_(begun_at < before, begun_at > before + LONGEST_PAUSE_SECONDS),
            jobs.c.deleted_at.is_(None),
        )
    )
    if after is not None:
        query = query.where(sa.tuple_(items.c.job_id, items.c.number) > sa.tuple_(*after))
    rows = connection.execute(query.order_by(items.c.job_id, items.c.number).limit(limit))
    return [(ItemRun(job_id=r.job_id, number=r.number, run=r.run), r.tenant) for r in rows]


def delayed_too_long(
    connection: sa.Connection, now: float, limit: int
) -> list[tuple[ItemRun, str]]:
    """Return items, with their tenant, that wait for a time that no pause between tries reaches.

    It was noted before the clock was set back; the engine's order waits for the same time.
    """
    rows = connection.execute(
        sa.select(items.c.job_id, items.c.number, items.c.run, jobs.c.tenant)
        .join_from(items, jobs)
        .where(
            items.c.state == JobState.QUEUED.value,
            items.c.ready_at > now + LONGEST_PAUSE_SECONDS,
            jobs.c.state.in_(_UNFINISHED),
            jobs.c.deleted_at.is_(None),
        )
        .limit(limit)
    )
    return [(ItemRun(job_id=r.job_id, number=r.number, run=r.run), r.tenant) for r in rows]


def tenant_of(connection: sa.Connection, job_id: str) -> str | None:
    """Return a job's tenant; None: the job is gone."""
    return connection.scalar(
        sa.select(jobs.c.tenant).where(jobs.c.job_id == job_id, jobs.c.deleted_at.is_(None))
    )


def enqueue_again(
    connection: sa.Connection, item_run: ItemRun, tenant: str, tasks: TaskQueue, now: float
) -> bool:
    """Return an item whose order the engine lost a new one; says whether it needed it."""
    source_kind = connection.scalar(
        sa.update(items)
        .where(
            items.c.job_id == item_run.job_id,
            items.c.number == item_run.number,
            items.c.run == item_run.run,
            items.c.state.in_(_UNFINISHED),
        )
        .values(state=JobState.QUEUED.value, run=item_run.run + 1, ready_at=now)
        .returning(items.c.source_kind)
    )
    if source_kind is None:
        return False
    following = ItemRun(job_id=item_run.job_id, number=item_run.number, run=item_run.run + 1)
    tasks.enqueue(connection, following, tenant=tenant, source_kind=source_kind)
    return True


def unfinished_jobs(connection: sa.Connection, limit: int) -> list[str]:
    """Return jobs that say that they are not done although all their items are."""
    waiting = sa.exists().where(items.c.job_id == jobs.c.job_id, items.c.state.in_(_UNFINISHED))
    return list(
        connection.scalars(
            sa.select(jobs.c.job_id)
            .where(jobs.c.state.in_(_UNFINISHED), jobs.c.deleted_at.is_(None), ~waiting)
            .limit(limit)
        )
    )
