"""Check that endless downloads delay no other items; runs on both databases."""

import asyncio

from mt3_model.notes.transcription import TranscriptionOptions
from service.item_processing import ItemProcessor
from service.jobs.job import ItemSource, JobState, NewItem, NewJob, new_job_id
from service.jobs.running.job_queue import JobQueue
from service.jobs.running.job_worker import WorkerOptions
from service.jobs.store.job_database import open_job_database
from tests.unit.service.jobs.jobs_at_hand import (
    finished,
    job_with_uploads,
    open_in,
    written,
)
from tests.waiting import until

OPTIONS = WorkerOptions(concurrency=4, polling_seconds=0.02)


async def check_slow_fetches(tmp_path, database_url):
    """Submit eight endless URLs of each of three tenants; others' uploads and URLs are
    processed."""
    objects = open_in(tmp_path)

    async def transcribe(path, options, caller, on_length):
        return written(options=options)

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
        await until(lambda: len(fetching) >= 3 * OPTIONS.tenant_fetches)
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
