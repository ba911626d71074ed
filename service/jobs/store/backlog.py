"""Count the backlog: the queued and the running items of all tenants."""

import sqlalchemy as sa

from service.jobs.job import UNFINISHED, JobState
from service.jobs.job_pages import Backlog
from service.jobs.store.tables import backlogs, items, jobs

_UNFINISHED = [state.value for state in UNFINISHED]
_FIRST_BACKLOG = sa.text(
    "insert into mt3_backlog (id, counted_at, queued_items, processing_items, oldest_ready_at)"
    " values (0, :counted_at, :queued_items, :processing_items, :oldest_ready_at)"
    " on conflict do nothing"
)


def recent_backlog(connection: sa.Connection, now: float, max_age_seconds: float) -> Backlog:
    """Return the backlog as this or another process counted it recently.

    Counting reads all waiting items, which takes a fifth of a second for a million. So one process
    counts for all: the first one that finds the last count too old. Two processes may do so at the
    same time, which is harmless.

    Args:
        connection: a connection inside a transaction.
        now: the current time, seconds since 1970.
        max_age_seconds: the age up to which an earlier count is used.
    """
    last = connection.execute(sa.select(backlogs)).first()
    if last is not None and 0.0 <= now - last.counted_at < max_age_seconds:
        return _backlog(now, last.queued_items, last.processing_items, last.oldest_ready_at)
    queued, processing, oldest = _count_waiting(connection, now)
    counted = {
        "counted_at": now,
        "queued_items": queued,
        "processing_items": processing,
        "oldest_ready_at": oldest,
    }
    if last is None:
        # If another process was faster, its count stays.
        connection.execute(_FIRST_BACKLOG, counted)
    else:
        connection.execute(sa.update(backlogs).values(counted))
    return _backlog(now, queued, processing, oldest)


def count_backlog(connection: sa.Connection, now: float) -> Backlog:
    """Count the backlog now."""
    return _backlog(now, *_count_waiting(connection, now))


def _backlog(now: float, queued: int, processing: int, oldest_ready_at: float | None) -> Backlog:
    return Backlog(
        queued_items=queued,
        processing_items=processing,
        oldest_queued_seconds=0.0 if oldest_ready_at is None else max(0.0, now - oldest_ready_at),
    )


def _count_waiting(connection: sa.Connection, now: float) -> tuple[int, int, float | None]:
    """Return the queued and the running items, and the time since which the oldest could run."""
    unfinished = sa.select(jobs.c.job_id).where(
        jobs.c.state.in_(_UNFINISHED), jobs.c.deleted_at.is_(None)
    )
    grouped = connection.execute(
        sa.select(items.c.state, sa.func.count())
        .where(items.c.job_id.in_(unfinished), items.c.state.in_(_UNFINISHED))
        .group_by(items.c.state)
    )
    counts = {state: count for state, count in grouped}  # noqa: C416 (rows, not pairs)
    # One index lookup for each job; grouping instead would read all waiting items.
    oldest_of_job = (
        sa.select(sa.func.min(items.c.ready_at))
        .where(
            items.c.job_id == jobs.c.job_id,
            items.c.state == JobState.QUEUED.value,
            items.c.ready_at <= now,
        )
        .scalar_subquery()
    )
    oldest = connection.scalar(
        sa.select(sa.func.min(oldest_of_job)).where(
            jobs.c.state.in_(_UNFINISHED), jobs.c.deleted_at.is_(None)
        )
    )
    return (
        counts.get(JobState.QUEUED.value, 0),
        counts.get(JobState.PROCESSING.value, 0),
        oldest,
    )
