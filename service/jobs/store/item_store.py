"""Change the state of items, as conditional SQL: begin, succeed, fail, put back, release.

The API reads these rows; those of DBOS only record which worker has which task. Every change is one
statement with its own condition (the states from which it may happen, and the run that it belongs
to). So a worker that was presumed dead, or whose job was canceled meanwhile, changes nothing. All
functions run inside a transaction of `Database.run`.
"""

import dataclasses

import sqlalchemy as sa

from mt3_model.export.strict_json import repair_json, write_json
from service.backoff import backoff_seconds
from service.jobs.dbos_tasks import TaskQueue
from service.jobs.job import (
    ITEM_TRANSITIONS,
    JOB_TRANSITIONS,
    UNFINISHED,
    Failure,
    Item,
    ItemRun,
    Job,
    JobState,
    Outcome,
    predecessors,
)
from service.jobs.store.job_queries import count_progress, load_job
from service.jobs.store.tables import items, jobs, kept_until, read_item
from service.webhooks import outbox

MOST_OPEN_STARTS = 2
"""Starts without a proper end after which an item is suspected of killing the process."""
MOST_QUARANTINED_STARTS = 3
"""Starts *alone* without a proper end after which the item fails. More than one, because
processes die for other reasons too."""
_UNFINISHED = [state.value for state in UNFINISHED]


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Begun:
    """An item that may be processed now."""

    item: Item
    job: Job


def begin(
    connection: sa.Connection, item_run: ItemRun, tasks: TaskQueue, now: float
) -> Begun | None:
    """Record that a worker begins an item; return None if there is nothing to do.

    An item that was started too often without ending properly is not started: it goes into
    quarantine or, if it was there already, fails.
    """
    row = connection.execute(
        sa.select(items, jobs.c.tenant, jobs.c.created_at)
        .join_from(items, jobs)
        .where(
            _is(item_run),
            items.c.state.in_(_UNFINISHED),
            jobs.c.deleted_at.is_(None),
        )
    ).mappings().first()  # fmt: skip
    if row is None:
        return None
    if row["open_starts"] >= (
        MOST_QUARANTINED_STARTS if row["is_quarantined"] else MOST_OPEN_STARTS
    ):
        _quarantine(connection, item_run, tasks, dict(row), now)
        return None
    begun = connection.execute(
        sa.update(items)
        .where(_is(item_run), items.c.state.in_(_UNFINISHED))
        .values(
            state=JobState.PROCESSING.value,
            attempts=items.c.attempts + 1,
            started_at=sa.func.coalesce(items.c.started_at, now),
        )
    )
    if begun.rowcount == 0:
        return None  # canceled since the row was read
    connection.execute(
        sa.update(jobs)
        .where(
            jobs.c.job_id == item_run.job_id,
            jobs.c.state.in_(predecessors(JOB_TRANSITIONS, JobState.PROCESSING)),
        )
        .values(
            state=JobState.PROCESSING.value, started_at=sa.func.coalesce(jobs.c.started_at, now)
        )
    )
    item = dataclasses.replace(
        read_item(dict(row), row["created_at"]),
        state=JobState.PROCESSING,
        attempts=row["attempts"] + 1,
    )
    return Begun(item=item, job=load_job(connection, item_run.job_id, with_counts=False))


def enter_device(connection: sa.Connection, item_run: ItemRun) -> None:
    """Record that the work on an item's recording begins, which may kill the process.

    Fetching does not count: if the process dies meanwhile, the recording is not the cause.
    """
    connection.execute(
        sa.update(items)
        .where(_is(item_run), items.c.state == JobState.PROCESSING.value)
        .values(open_starts=items.c.open_starts + 1)
    )


def set_length(connection: sa.Connection, item_run: ItemRun, audio_seconds: float) -> bool:
    """Record the length of a running item's recording; return whether it counted.

    Args:
        connection: a connection inside a transaction.
        item_run: the run in progress.
        audio_seconds: the declared length; the item's success records the length that was read.
    """
    return _enter(
        connection,
        item_run,
        JobState.PROCESSING,
        before=[JobState.PROCESSING.value],
        audio_seconds=audio_seconds,
    )


def succeed(connection: sa.Connection, item_run: ItemRun, outcome: Outcome, now: float) -> bool:
    """Record an item's success; return whether it counted (the job may be canceled meanwhile)."""
    warnings = write_json(repair_json([dataclasses.asdict(w) for w in outcome.warnings]))
    return _enter(
        connection, item_run, JobState.SUCCEEDED, ended_at=now, open_starts=0,
        audio_seconds=outcome.audio_seconds, warnings=warnings, error_code=None, error_message=None,
    )  # fmt: skip


def fail(connection: sa.Connection, item_run: ItemRun, failure: Failure, now: float) -> bool:
    """Record that an item failed; return whether it counted."""
    return _enter(
        connection, item_run, JobState.FAILED, ended_at=now, open_starts=0,
        error_code=failure.code, error_message=failure.message,
    )  # fmt: skip


def put_back(
    connection: sa.Connection,
    item_run: ItemRun,
    failure: Failure,
    tasks: TaskQueue,
    *,
    most_tries: int,
    delays_seconds: tuple[float, ...],
    now: float,
) -> JobState:
    """Queue an item again after a temporary failure, or fail it after too many attempts.

    Args:
        connection: a connection inside a transaction.
        item_run: the run that failed.
        failure: the reason, stored on the item in either case.
        tasks: the task queue, for the item's next run.
        most_tries: number of attempts after which the item fails.
        delays_seconds: pauses before the second, third, ... attempt; the last one for all that
            follow.
        now: the current time, seconds since 1970.

    Returns:
        The item's state.
    """
    found = connection.execute(
        sa.select(items.c.failed_tries, items.c.is_quarantined, items.c.source_kind, jobs.c.tenant)
        .join_from(items, jobs)
        .where(_is(item_run), items.c.state == JobState.PROCESSING.value)
    ).first()
    if found is None:
        return JobState.CANCELED
    tries = found.failed_tries + 1
    if tries >= most_tries:
        last = Failure(code=failure.code, message=f"{failure.message} (tried {tries} times)")
        fail(connection, item_run, last, now)
        return JobState.FAILED
    delay_seconds = backoff_seconds(tries, delays_seconds)
    following = dataclasses.replace(item_run, run=item_run.run + 1)
    if not _enter(
        connection,
        item_run,
        JobState.QUEUED,
        run=following.run,
        failed_tries=tries,
        open_starts=0,
        ready_at=now + delay_seconds,
        error_code=failure.code,
        error_message=failure.message,
    ):
        return JobState.CANCELED
    tasks.enqueue(
        connection,
        following,
        tenant=found.tenant,
        source_kind=found.source_kind,
        is_quarantined=found.is_quarantined,
        delay_seconds=delay_seconds,
    )
    return JobState.QUEUED


def release(
    connection: sa.Connection, item_run: ItemRun, now: float, *, has_entered: bool = True
) -> None:
    """Return an item to the queue when its worker shuts down; its task stays valid.

    Args:
        connection: a connection inside a transaction.
        item_run: the item's current run.
        now: the current time, seconds since 1970.
        has_entered: whether `enter_device` was called for this start.
    """
    starts = items.c.open_starts - 1 if has_entered else items.c.open_starts
    _enter(connection, item_run, JobState.QUEUED, open_starts=starts, ready_at=now)


def finish_job(connection: sa.Connection, job_id: str, now: float) -> bool:
    """End a job if all its items have ended; return whether it did.

    Call it in a transaction after the last item's: two items that end at the same moment do not see
    each other in their own transactions.
    """
    waiting = sa.exists().where(items.c.job_id == job_id, items.c.state.in_(_UNFINISHED))
    is_this = sa.and_(jobs.c.job_id == job_id, ~waiting)
    is_open = jobs.c.state.in_(_UNFINISHED)
    if connection.scalar(sa.select(jobs.c.job_id).where(is_this, is_open)) is None:
        return False
    progress = count_progress(connection, job_id)
    is_failed = progress.items_failed > 0 and progress.items_succeeded == 0
    state = JobState.FAILED if is_failed else JobState.SUCCEEDED
    ended = connection.execute(
        sa.update(jobs)
        .where(is_this, jobs.c.state.in_(predecessors(JOB_TRANSITIONS, state)))
        .values(
            state=state.value,
            ended_at=now,
            expires_at=kept_until(now),
            final_counts=write_json(dataclasses.asdict(progress)),
        )
    )
    if ended.rowcount > 0:
        outbox.announce(connection, job_id, f"job.{state.value}", now)
    return ended.rowcount > 0


def is_quarantined(connection: sa.Connection, item_run: ItemRun) -> bool:
    """Return whether an item is to run alone."""
    return bool(connection.scalar(sa.select(items.c.is_quarantined).where(_is(item_run))))


def item_state(connection: sa.Connection, item_run: ItemRun) -> JobState | None:
    """Return an item's state in any run; None if the item or its job is deleted."""
    state = connection.scalar(
        sa.select(items.c.state)
        .join_from(items, jobs)
        .where(
            items.c.job_id == item_run.job_id,
            items.c.number == item_run.number,
            jobs.c.deleted_at.is_(None),
        )
    )
    return None if state is None else JobState(state)


def _quarantine(
    connection: sa.Connection,
    item_run: ItemRun,
    tasks: TaskQueue,
    row: dict[str, object],
    now: float,
) -> None:
    """Enqueue an item to run alone; if it did so before, record that it failed."""
    if row["is_quarantined"]:
        failure = Failure(
            code="worker_crashed",
            message=f"the process ended {row['open_starts']} times while it worked on this"
            " recording alone; it is not tried again",
        )
        _enter(
            connection, item_run, JobState.FAILED, before=_UNFINISHED, ended_at=now, open_starts=0,
            error_code=failure.code, error_message=failure.message,
        )  # fmt: skip
        return
    following = dataclasses.replace(item_run, run=item_run.run + 1)
    if _enter(
        connection,
        item_run,
        JobState.QUEUED,
        before=_UNFINISHED,
        run=following.run,
        open_starts=0,
        is_quarantined=True,
        ready_at=now,
    ):
        tasks.enqueue(
            connection, following, tenant=str(row["tenant"]), source_kind=str(row["source_kind"]),
            is_quarantined=True,
        )  # fmt: skip


def _enter(
    connection: sa.Connection,
    item_run: ItemRun,
    state: JobState,
    *,
    before: list[str] | None = None,
    **values: object,
) -> bool:
    states = before or list(predecessors(ITEM_TRANSITIONS, state))
    if state is JobState.QUEUED and before is None:
        states = [JobState.PROCESSING.value]  # a failed item is queued only by its owner's retry
    changed = connection.execute(
        sa.update(items)
        .where(_is(item_run), items.c.state.in_(states))
        .values(state=state.value, **values)
    )
    return changed.rowcount > 0


def _is(item_run: ItemRun) -> sa.ColumnElement[bool]:
    return sa.and_(
        items.c.job_id == item_run.job_id,
        items.c.number == item_run.number,
        items.c.run == item_run.run,
    )
