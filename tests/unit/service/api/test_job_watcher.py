"""Followed jobs: polled together, waiting ones less often; changes wake their followers."""

import asyncio
import contextlib
import dataclasses

import pytest

from mt3_model.notes.transcription import TranscriptionOptions
from service.api.jobs import job_watcher
from service.api.jobs.job_watcher import JobWatcher
from service.errors import JobsUnavailableError
from service.jobs.job import Job, JobState, Progress

PROGRESS = Progress(
    items_total=2, items_succeeded=0, items_failed=0, items_canceled=0, items_processing=0,
    audio_seconds_done=0.0, audio_seconds_total=None,
)  # fmt: skip


def job(number, state=JobState.QUEUED):
    return Job(
        job_id=f"job_{number}", tenant="anna", state=state, progress=PROGRESS,
        options=TranscriptionOptions(), metadata={}, created_at=1.0, started_at=None,
        ended_at=None, expires_at=2.0, error=None, queue_position=number,
    )  # fmt: skip


class Queue:
    """Records what it was asked for; returns the jobs with `changed`, or unchanged."""

    def __init__(self):
        self.asked = []
        self.changed = {}
        self.failures = []
        self._more = asyncio.Event()

    async def refresh(self, known):
        self.asked.append([job.job_id for job in known])
        self._more.set()
        if self.failures:
            raise self.failures.pop()
        return tuple(self.changed.get(job.job_id, job) for job in known)

    async def looks(self, count):
        """Wait for this many more polls."""
        until = len(self.asked) + count
        async with asyncio.timeout(400):
            while len(self.asked) < until:
                self._more.clear()
                await self._more.wait()


@pytest.fixture
def queue(monkeypatch):
    monkeypatch.setattr(job_watcher, "POLLING_SECONDS", 0.001)
    return Queue()


async def test_all_jobs_are_looked_at_together_however_many_follow_them(queue):
    watcher = JobWatcher()
    with contextlib.ExitStack() as held:
        for number in range(150):
            for _ in range(2):
                held.enter_context(watcher.watching(queue, job(number)))
        await queue.looks(2)
    assert sorted(queue.asked[0]) == sorted(f"job_{number}" for number in range(150))
    await asyncio.sleep(0)
    assert asyncio.all_tasks() == {asyncio.current_task()}, "polled no more"


async def test_what_waits_is_looked_at_more_seldom_than_what_is_in_work(queue):
    watcher = JobWatcher()
    with (
        watcher.watching(queue, job(1)),
        watcher.watching(queue, job(2, JobState.PROCESSING)),
    ):
        await queue.looks(8)
    assert [len(asked) for asked in queue.asked[:8]] == [1, 1, 1, 2, 1, 1, 1, 2]
    assert all("job_2" in asked for asked in queue.asked)


async def test_followers_are_woken_by_a_change_and_not_by_every_look(queue):
    watcher = JobWatcher()
    with watcher.watching(queue, job(1, JobState.PROCESSING)) as watch:
        seen = watch.latest
        waiting = asyncio.create_task(watch.wait(60.0))
        # Another object with another position, which wakes no follower.
        queue.changed["job_1"] = dataclasses.replace(seen, queue_position=None)
        await queue.looks(3)
        assert not waiting.done()
        assert watch.latest is seen
        progress = dataclasses.replace(PROGRESS, items_succeeded=1)
        queue.changed["job_1"] = dataclasses.replace(seen, progress=progress)
        async with asyncio.timeout(400):
            await waiting
        assert watch.latest.progress.items_succeeded == 1
        queue.changed["job_1"] = None
        async with asyncio.timeout(400):
            await watch.wait(60.0)
        assert watch.latest is None


async def test_a_look_that_fails_is_made_again(queue):
    watcher = JobWatcher()
    queue.failures = [ZeroDivisionError(), JobsUnavailableError("away", retry_after_seconds=1)]
    with watcher.watching(queue, job(1, JobState.PROCESSING)) as watch:
        seen = watch.latest
        queue.changed["job_1"] = dataclasses.replace(seen, state=JobState.FAILED)
        async with asyncio.timeout(400):
            await watch.wait(60.0)
    assert watch.latest.state is JobState.FAILED
    assert len(queue.asked) == 3


async def test_who_begins_to_follow_brings_what_it_read(queue):
    watcher = JobWatcher()
    with watcher.watching(queue, job(1)) as watch:
        waiting = asyncio.create_task(watch.wait(60.0))
        await asyncio.sleep(0)
        with watcher.watching(queue, job(1, JobState.PROCESSING)) as same:
            assert same is watch
            async with asyncio.timeout(400):
                await waiting
        assert watch.latest.state is JobState.PROCESSING
