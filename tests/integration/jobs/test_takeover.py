"""Worker leases, and the private call of DBOS that a takeover needs."""

import asyncio
import dataclasses

import psycopg
import pytest

from service.database.database import Database
from service.jobs.dbos_tasks import recover_executor
from service.jobs.job import JobState
from service.jobs.running.worker_lease import WorkerLease
from tests.unit.service.jobs.jobs_at_hand import (
    QUICK,
    finished,
    job_with_uploads,
    open_in,
    queue_in,
    written,
)

pytestmark = pytest.mark.postgres


async def transcribe(path, options, caller, on_length):
    return written(options=options)


def test_every_worker_has_a_lease_of_its_own_and_a_free_one_is_given_again(postgres_url):
    database = Database(postgres_url)
    leases = [WorkerLease(database.engine) for _ in range(3)]
    assert [lease.executor for lease in leases] == ["slot-0", "slot-1", "slot-2"]
    leases[1].release()
    again = WorkerLease(database.engine)
    assert again.executor == "slot-1"
    other_deployment = WorkerLease(database.engine, schema="other")
    assert other_deployment.executor == "slot-0"
    for lease in (leases[0], leases[2], again, other_deployment):
        lease.release()
    database.close()


async def test_tasks_of_a_dead_worker_are_given_back_by_the_private_call_of_dbos(
    tmp_path, postgres_url
):
    objects = open_in(tmp_path)
    new = await job_with_uploads(objects, 3)
    async with queue_in(tmp_path, url=postgres_url) as queue:
        await queue.submit(new)
    # As a killed worker leaves them: begun under its name.
    with psycopg.connect(postgres_url) as connection:
        connection.execute(
            "update mt3_dbos.workflow_status set status = 'PENDING', executor_id = 'slot-7',"
            " application_version = '1'"
        )
    # Only the test checks for dead workers.
    worker = dataclasses.replace(QUICK, watch_seconds=3_600.0)
    async with queue_in(tmp_path, transcribe, url=postgres_url, worker=worker) as queue:
        later = await job_with_uploads(objects, 1)
        await queue.submit(later)
        await finished(queue, later)
        assert (await queue.get("anna", new.job_id)).state is JobState.QUEUED, "as DBOS leaves it"
        assert await asyncio.to_thread(recover_executor, "slot-7") == 3
        job = await finished(queue, new)
        assert job.progress.items_succeeded == 3


async def test_a_lease_that_is_held_is_not_taken_over(tmp_path, postgres_url):
    objects = open_in(tmp_path)
    new = await job_with_uploads(objects, 2)
    dead = await job_with_uploads(objects, 3)
    database = Database(postgres_url)
    held = WorkerLease(database.engine)  # another worker, alive: slot 0
    async with queue_in(tmp_path, url=postgres_url) as queue:
        for job, executor in ((new, "slot-0"), (dead, "slot-7")):
            await queue.submit(job)
            with psycopg.connect(postgres_url) as connection:
                connection.execute(
                    "update mt3_dbos.workflow_status set status = 'PENDING', executor_id = %s,"
                    " application_version = '1' where status <> 'PENDING'",
                    (executor,),
                )
    async with queue_in(tmp_path, transcribe, url=postgres_url) as queue:
        await finished(queue, dead)  # so it has looked for dead workers
        assert queue.taken_over == 3
        assert (await queue.get("anna", new.job_id)).state is JobState.QUEUED
        held.release()  # it dies
        job = await finished(queue, new)
        assert job.progress.items_succeeded == 2
        assert queue.taken_over == 3 + 2
    database.close()
