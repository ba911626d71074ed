"""Places at the device: taken by what is local, so many for each tenant, and never by a fetch."""

import asyncio
import contextlib

import pytest

from mt3_model.notes.transcription import TranscriptionOptions
from service.item_processing import ItemProcessor
from service.jobs.job import ItemSource, JobState, NewItem, NewJob, new_job_id
from service.jobs.running.device_limiter import DeviceLimiter
from service.jobs.running.job_queue import JobQueue
from service.jobs.running.job_worker import WorkerOptions
from service.jobs.store.job_database import open_job_database
from tests.unit.service.jobs.jobs_at_hand import (
    finished,
    job_with_uploads,
    open_in,
    transcription,
)

pytestmark = pytest.mark.slow


OPTIONS = WorkerOptions(concurrency=4, polling_seconds=0.02)


@contextlib.asynccontextmanager
async def room(places, tenant):
    """A visit that lasts until it is told to end; gives its task and what ends it."""
    entered, leaving = asyncio.Event(), asyncio.Event()

    async def visit():
        async with places.hold(tenant):
            entered.set()
            await leaving.wait()

    task = asyncio.create_task(visit())
    for _ in range(3):
        await asyncio.sleep(0)
    try:
        yield entered, leaving, task
    finally:
        leaving.set()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_a_tenant_has_its_share_and_the_rest_is_for_others():
    places = DeviceLimiter(limit=4, tenant_limit=3)
    async with contextlib.AsyncExitStack() as held:
        anna = [await held.enter_async_context(room(places, "anna")) for _ in range(5)]
        assert [entered.is_set() for entered, _, _ in anna] == [True] * 3 + [False] * 2
        bert = [await held.enter_async_context(room(places, "bert")) for _ in range(2)]
        assert [entered.is_set() for entered, _, _ in bert] == [True, False]
        anna[4][2].cancel()  # gives up waiting
        _, leaving, task = anna[0]
        leaving.set()
        await task
        await asyncio.sleep(0)
        assert [entered.is_set() for entered, _, _ in anna[3:]] == [True, False]
    assert not places._held


async def test_who_is_canceled_as_the_place_is_given_leaves_it():
    places = DeviceLimiter(limit=1, tenant_limit=1)
    async with room(places, "anna") as (_, leaving, first), room(places, "bert") as (_, _, second):
        leaving.set()
        await first
        second.cancel()
        with pytest.raises(asyncio.CancelledError):
            await second
    async with room(places, "carl") as (entered, _, _):
        assert entered.is_set()


async def check_slow_fetches(tmp_path, database_url):
    """Three tenants with eight URLs each that never come; others' uploads and URLs go on."""
    objects = open_in(tmp_path)

    async def transcribe(path, options, caller, on_length):
        return transcription(options=options)

    fetching = []

    async def fetch(reference, path):
        fetching.append(reference)
        if reference.endswith("slow"):
            await asyncio.Event().wait()
        path.write_bytes(b"sound")

    worker = ItemProcessor(objects, transcribe, fetchers={"url": fetch}, folder=tmp_path)
    queue = JobQueue(open_job_database(database_url), objects, worker=OPTIONS)
    await queue.start(worker.process)
    try:
        for tenant in ("anna", "bert", "carl"):
            await queue.submit(urls(tenant, 8, "slow"))
        async with asyncio.timeout(60):
            while len(fetching) < 3 * OPTIONS.tenant_fetches:  # noqa: ASYNC110
                await asyncio.sleep(0.02)
        for new in (await job_with_uploads(objects, 2, tenant="dora"), urls("emil", 2, "quick")):
            await queue.submit(new)
            assert (await finished(queue, new)).state is JobState.SUCCEEDED
        assert len([each for each in fetching if each.endswith("slow")]) == 12
    finally:
        await queue.close(grace_seconds=0.0)


def urls(tenant, count, name):
    return NewJob(
        job_id=new_job_id(),
        tenant=tenant,
        items=(NewItem(source=ItemSource(kind="url", reference=f"https://a.example/{name}")),)
        * count,
        options=TranscriptionOptions(),
    )


async def test_slow_fetches_hold_up_neither_uploads_nor_others_fetches(tmp_path):
    await check_slow_fetches(tmp_path, f"sqlite:///{tmp_path}/jobs.sqlite")
