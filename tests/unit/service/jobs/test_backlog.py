"""The backlog, by which workers are scaled: the time that items wait which could be begun."""

import time

import pytest

from service.jobs.job import Failure, ItemRun, JobState
from service.jobs.store import item_store
from tests.unit.service.jobs.jobs_at_hand import (
    finished,
    job_with_uploads,
    new_job,
    open_in,
    queue_in,
)
from tests.unit.service.jobs.queue_files import transcribe
from tests.waiting import until

pytestmark = pytest.mark.slow


DAY = 86_400.0


async def test_the_age_of_the_queue_counts_from_the_submission(tmp_path):
    now = [1_000.0]
    async with queue_in(tmp_path, clock=lambda: now[0]) as queue:
        assert (await queue.backlog()).oldest_queued_seconds == 0.0
        older, newer = new_job(2), new_job(3)
        await queue.submit(older)
        now[0] += 20.0
        await queue.submit(newer)
        now[0] += 5.0
        backlog = await queue.backlog()
        assert (backlog.queued_items, backlog.oldest_queued_seconds) == (5, 25.0)
        await queue.cancel("anna", older.job_id)
        assert (await queue.backlog()).oldest_queued_seconds == 5.0
        await queue.delete("anna", newer.job_id)
        assert (await queue.backlog()).oldest_queued_seconds == 0.0


async def test_a_job_that_is_retried_days_later_is_no_days_of_backlog(tmp_path):
    shift = [0.0]

    def clock():
        return time.time() + shift[0]

    objects = open_in(tmp_path)
    new = await job_with_uploads(objects, 1, content=b"noise")
    async with queue_in(tmp_path, transcribe, clock=clock) as queue:
        await queue.submit(new)
        assert (await finished(queue, new)).state is JobState.FAILED
    shift[0] = 6 * DAY
    async with queue_in(tmp_path, clock=clock) as queue:
        await queue.retry("anna", new.job_id)
        shift[0] += 30.0
        backlog = await queue.backlog()
        assert backlog.queued_items == 1
        assert backlog.oldest_queued_seconds == pytest.approx(30.0, abs=20.0)


async def test_the_pause_between_two_tries_is_no_waiting(tmp_path):
    now = [1_000.0]
    async with queue_in(tmp_path, clock=lambda: now[0]) as queue:
        new = new_job()
        await queue.submit(new)
        now[0] += 100.0
        order = ItemRun(job_id=new.job_id, number=0, run=0)
        await queue._database.run(lambda c: item_store.begin(c, order, queue._tasks, now[0]))
        assert (await queue.backlog()).oldest_queued_seconds == 0.0
        state = await queue._database.run(
            lambda c: item_store.put_back(
                c, order, Failure(code="engine_failure", message=""), queue._tasks,
                most_tries=5, delays_seconds=(60.0,), now=now[0],
            )
        )  # fmt: skip
        assert state is JobState.QUEUED
        now[0] += 59.0
        assert (await queue.backlog()).oldest_queued_seconds == 0.0
        now[0] += 3.0
        backlog = await queue.backlog()
        assert (backlog.queued_items, backlog.oldest_queued_seconds) == (1, 2.0)


async def test_an_item_put_back_at_a_shutdown_waits_from_then(tmp_path):
    now = [1_000.0]
    async with queue_in(tmp_path, clock=lambda: now[0]) as queue:
        new = new_job()
        await queue.submit(new)
        order = ItemRun(job_id=new.job_id, number=0, run=0)
        await queue._database.run(lambda c: item_store.begin(c, order, queue._tasks, now[0]))
        now[0] += 500.0
        await queue._database.run(lambda c: item_store.release(c, order, now[0]))
        now[0] += 4.0
        assert (await queue.backlog()).oldest_queued_seconds == 4.0


class SlowToAnswer:
    """Return a database that holds back its next result once `wait` is set."""

    def __init__(self, database):
        self._database = database
        self.wait = None

    def __getattr__(self, name):
        return getattr(self._database, name)

    async def run(self, work, **of_worker):
        answer = await self._database.run(work, **of_worker)
        if self.wait is not None and not of_worker:
            wait, self.wait = self.wait, None
            await wait()
        return answer


async def test_the_answer_to_a_retry_is_the_job_as_it_was_queued(tmp_path):
    """Even if a worker begins with it a moment later."""
    objects = open_in(tmp_path)
    database = None

    def watch(opened):
        nonlocal database
        database = SlowToAnswer(opened)
        return database

    async with queue_in(tmp_path, transcribe, watch=watch) as queue:
        new = await job_with_uploads(objects, 2, content=b"noise")
        await queue.submit(new)
        await finished(queue, new)

        async def has_begun():
            return (await queue.get_item("anna", new.job_id, 0)).attempts == 2

        database.wait = lambda: until(has_begun)
        job = await queue.retry("anna", new.job_id)
        assert job.state is JobState.QUEUED
        assert (job.progress.items_failed, job.progress.items_done) == (0, 0)
        assert (await finished(queue, new)).state is JobState.FAILED
