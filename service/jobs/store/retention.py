"""Delete jobs completely, when their owner requests it or when they expire.

The objects are deleted first, then the rows of DBOS, then our own. So a job whose deletion was
interrupted is still found, and the next sweep continues. If a worker is processing one of its
items, the job first loses its objects and everything that its owner sent (names, metadata, keys)
and is no longer visible; the rows are deleted when the worker has stopped. Objects that a dead
process left in the storage (uploads of a job never submitted, results never recorded) are
recognized by their age and by belonging to no job.
"""

import dataclasses

import sqlalchemy as sa

from service.jobs.dbos_tasks import TaskQueue
from service.jobs.job import UNFINISHED, ItemRun, JobState
from service.jobs.store.job_store import cancel_items
from service.jobs.store.tables import items, jobs
from service.webhooks import outbox

LETTING_GO_SECONDS = 30.0
"""Time within which a worker notices that its item was canceled; usually it takes one second."""
LONGEST_PAUSE_SECONDS = 600.0
"""An upper bound of the pause between two attempts at an item: more than the longest of
`WorkerOptions.retry_delays_seconds`."""
ORPHAN_SECONDS = 24 * 3_600.0
"""Age up to which objects that belong to no job are kept: an upload may still be running."""
_UNFINISHED = [state.value for state in UNFINISHED]


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Hidden:
    """The work left after a job has been hidden."""

    canceled: list[ItemRun]
    """Runs whose tasks are to be canceled."""
    is_processing: bool
    """Whether a worker may be processing one of its items."""


def hide(
    connection: sa.Connection, job_id: str, now: float, *, only_expired: bool = False
) -> Hidden | None:
    """Make a job invisible, and erase what its owner sent.

    Args:
        connection: a connection inside a transaction.
        job_id: the job's id.
        now: the current time, seconds since 1970.
        only_expired: hide it only if it has expired and is not hidden yet; its owner may have
            retried it since `expired` returned it.

    Returns:
        The work left to do; None if the job was not changed.
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
    # In this order: an item that a worker starts in between is found by the second call.
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
    """Delete our rows of a job."""
    outbox.forget(connection, job_id)
    connection.execute(sa.delete(items).where(items.c.job_id == job_id))
    connection.execute(sa.delete(jobs).where(jobs.c.job_id == job_id))


def expired(connection: sa.Connection, now: float, limit: int) -> list[str]:
    """Return jobs that have ended and expired, and are not hidden yet.

    A job that still waits does not expire: its owner has not seen a result.
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
    """Return hidden jobs that are no longer processed by a worker."""
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
    """Return those of the jobs that exist."""
    return set(connection.scalars(sa.select(jobs.c.job_id).where(jobs.c.job_id.in_(job_ids))))


def unfinished_before(
    connection: sa.Connection,
    state: JobState,
    before: float,
    *,
    after: tuple[str, int] | None,
    limit: int,
) -> list[tuple[ItemRun, str]]:
    """Return items, with their tenants, that must have had a task for some time; ordered by key.

    Args:
        connection: a connection inside a transaction.
        state: the items' state, one of the unfinished ones.
        before: return items started before this time or, if never started, submitted before it;
            seconds since 1970.
        after: job and number of the last item of the previous page; None: from the first.
        limit: the largest number to return.
    """
    # A start in the future was recorded before the clock was set back.
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
    """Return items, with their tenants, whose next attempt is later than any pause allows.

    That time was recorded before the clock was set back, and the item's task waits for it too.
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
    """Return a job's tenant; None if the job is deleted."""
    return connection.scalar(
        sa.select(jobs.c.tenant).where(jobs.c.job_id == job_id, jobs.c.deleted_at.is_(None))
    )


def enqueue_again(
    connection: sa.Connection, item_run: ItemRun, tenant: str, tasks: TaskQueue, now: float
) -> bool:
    """Enqueue a new task for an item that lost its task; return whether the item needed one."""
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
    """Return jobs in an unfinished state all of whose items have ended."""
    waiting = sa.exists().where(items.c.job_id == jobs.c.job_id, items.c.state.in_(_UNFINISHED))
    return list(
        connection.scalars(
            sa.select(jobs.c.job_id)
            .where(jobs.c.state.in_(_UNFINISHED), jobs.c.deleted_at.is_(None), ~waiting)
            .limit(limit)
        )
    )
