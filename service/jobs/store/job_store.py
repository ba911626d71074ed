"""Accept a job: its row, its items' rows and their tasks, in one transaction.

Two requests with the same idempotency key and the same body give one job, even if they arrive at
the same time (the unique index decides). The same key with another body is refused.
"""

import dataclasses

import sqlalchemy as sa

from mt3_model.export.record import options_to_json
from mt3_model.export.strict_json import write_json
from service.errors import IdempotencyError, JobConflictError
from service.jobs.dbos_tasks import TaskQueue
from service.jobs.documents import describe_job
from service.jobs.job import JOB_TRANSITIONS, UNFINISHED, ItemRun, JobState, NewJob, predecessors
from service.jobs.job_pages import Submission
from service.jobs.store.job_queries import load_job, load_state
from service.jobs.store.tables import items, jobs, kept_until
from service.webhooks import outbox


def submit(
    connection: sa.Connection,
    new: NewJob,
    tasks: TaskQueue,
    *,
    now: float,
    retention_seconds: float,
) -> Submission:
    """Insert a job, or return the one that was submitted before with its idempotency key.

    Args:
        connection: a connection inside a transaction.
        new: the job to insert.
        tasks: the task queue.
        now: the current time, seconds since 1970.
        retention_seconds: time for which the job is kept, from now and again from its end.

    Raises:
        IdempotencyError: the key was used with another body.
        ValueError: the job cannot be written as JSON.
        sqlalchemy.exc.IntegrityError: another request with the key was faster; call again to get
            its job.
    """
    assert new.items, "a job has items"
    known_id = _find_submitted(connection, new)
    if known_id is not None:
        return Submission(job=load_job(connection, known_id, new.tenant), is_new=False)
    _insert(connection, new, now=now, retention_seconds=retention_seconds)
    item_runs = (
        (ItemRun(job_id=new.job_id, number=number, run=0), item.source.kind)
        for number, item in enumerate(new.items)
    )
    tasks.enqueue_all(connection, item_runs, tenant=new.tenant)
    job = load_job(connection, new.job_id, new.tenant)
    # Built before the commit: if the answer cannot be built, the job must not be created.
    write_json(describe_job(job).model_dump(mode="json"))
    return Submission(job=job, is_new=True)


def _find_submitted(connection: sa.Connection, new: NewJob) -> str | None:
    """Return the id of the job that the idempotency key made before."""
    if new.idempotency_key is None:
        return None
    known = connection.execute(
        sa.select(jobs.c.job_id, jobs.c.body_hash).where(
            jobs.c.tenant == new.tenant, jobs.c.idempotency_key == new.idempotency_key
        )
    ).first()
    if known is None:
        return None
    if known.body_hash != new.body_hash:
        raise IdempotencyError(
            f"this idempotency key was used with another body, for job {known.job_id};"
            " expected the same body, or another key"
        )
    return known.job_id


def _insert(
    connection: sa.Connection, new: NewJob, *, now: float, retention_seconds: float
) -> None:
    """Insert the rows of the job, its items and its webhook."""
    connection.execute(
        sa.insert(jobs).values(
            job_id=new.job_id,
            tenant=new.tenant,
            idempotency_key=new.idempotency_key,
            body_hash=new.body_hash,
            state=JobState.QUEUED.value,
            created_at=now,
            expires_at=now + retention_seconds,
            retention_seconds=retention_seconds,
            options=write_json(options_to_json(new.options)),
            response_format=new.response_format,
            metadata=write_json(dict(new.metadata)),
        )
    )
    connection.execute(
        sa.insert(items),
        [
            {
                "job_id": new.job_id,
                "number": number,
                "state": JobState.QUEUED.value,
                "source_kind": item.source.kind,
                "source_reference": item.source.reference,
                "name": item.name,
                "audio_seconds": item.audio_seconds,
                "ready_at": now,
            }
            for number, item in enumerate(new.items)
        ],
    )
    if new.webhook is not None:
        outbox.register(connection, new.job_id, new.webhook)


def cancel(connection: sa.Connection, tenant: str, job_id: str, now: float) -> list[ItemRun]:
    """Cancel the items that have not ended; return the runs whose tasks are to be canceled."""
    if load_state(connection, job_id, tenant).is_final:
        return []
    item_runs = cancel_items(connection, job_id, now, *UNFINISHED)
    ended = connection.execute(
        sa.update(jobs)
        .where(
            jobs.c.job_id == job_id,
            jobs.c.state.in_(predecessors(JOB_TRANSITIONS, JobState.CANCELED)),
        )
        .values(
            state=JobState.CANCELED.value,
            ended_at=now,
            expires_at=kept_until(now),
            final_counts=write_json(
                dataclasses.asdict(load_job(connection, job_id, tenant).progress)
            ),
        )
    )
    if ended.rowcount > 0:
        outbox.announce(connection, job_id, "job.canceled", now)
    return item_runs


def cancel_items(
    connection: sa.Connection, job_id: str, now: float, *states: JobState
) -> list[ItemRun]:
    """Cancel the items that are in one of the states; return their runs."""
    canceled = connection.execute(
        sa.update(items)
        .where(items.c.job_id == job_id, items.c.state.in_([state.value for state in states]))
        .values(state=JobState.CANCELED.value, ended_at=now)
        .returning(items.c.number, items.c.run)
    )
    return [ItemRun(job_id=job_id, number=row.number, run=row.run) for row in canceled]


def retry(
    connection: sa.Connection, tenant: str, job_id: str, tasks: TaskQueue, now: float
) -> None:
    """Queue the failed items again, with the same number of attempts as new ones.

    Raises:
        JobConflictError: the job was canceled.
    """
    if load_state(connection, job_id, tenant) is JobState.CANCELED:
        raise JobConflictError(
            "the job was canceled, and only failed items can be retried: submit it again"
        )
    retried = connection.execute(
        sa.update(items)
        .where(items.c.job_id == job_id, items.c.state == JobState.FAILED.value)
        .values(
            state=JobState.QUEUED.value,
            run=items.c.run + 1,
            failed_tries=0,
            open_starts=0,
            is_quarantined=False,
            ready_at=now,
            ended_at=None,
            error_code=None,
            error_message=None,
        )
        .returning(items.c.number, items.c.run, items.c.source_kind)
    ).all()
    if retried:
        item_runs = ((ItemRun(job_id=job_id, number=n, run=run), kind) for n, run, kind in retried)
        tasks.enqueue_all(connection, item_runs, tenant=tenant)
        connection.execute(
            sa.update(jobs)
            .where(
                jobs.c.job_id == job_id,
                jobs.c.state.in_(predecessors(JOB_TRANSITIONS, JobState.QUEUED)),
            )
            .values(state=JobState.QUEUED.value, ended_at=None, final_counts=None)
        )
        outbox.withdraw(connection, job_id)
