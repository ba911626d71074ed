"""Check that a small tenant does not wait for a large one; for the queue on each database."""

import asyncio
import time

from service.jobs.running.job_worker import WorkerOptions
from tests.unit.service.jobs.jobs_at_hand import finished, new_job, open_in, queue_in, written
from tests.waiting import until


async def check_small_tenant(tmp_path, database_url):
    """Submit a small job behind one of ten thousand items; return what was measured, as a line."""
    await open_in(tmp_path).put("uploads/one", b"sound")
    began_at = {}

    async def note(path, options, caller, on_length):
        began_at.setdefault(caller, time.monotonic())
        await asyncio.sleep(0.05)
        return written(options=options)

    worker = WorkerOptions(concurrency=8, polling_seconds=0.1)
    async with queue_in(tmp_path, note, url=database_url, worker=worker) as queue:
        many = new_job(10_000, tenant="large", reference="uploads/one")
        submit_seconds = await _seconds_of(queue.submit(many))
        await until(lambda: "large" in began_at)
        small = new_job(3, tenant="small", reference="uploads/one")
        submitted_at = time.monotonic()
        await queue.submit(small)
        job = await finished(queue, small)
        large = (await queue.list_jobs("large")).jobs[0]
        # The least of several: what else the machine does is not in it.
        counting = [await _seconds_of(queue.get("large", large.job_id)) for _ in range(10)]
        again = new_job(10_000, tenant="later", reference="uploads/one")
        submit_seconds = min(submit_seconds, await _seconds_of(queue.submit(again)))
        assert large.progress.items_done < 5_000
    return (
        f"10,000 items submitted in {submit_seconds:.2f} s; small tenant began after"
        f" {began_at['small'] - submitted_at:.2f} s and was done after"
        f" {job.ended_at - job.created_at:.2f} s, when {large.progress.items_done} of the others'"
        f" were; progress in {1_000 * min(counting):.1f} ms"
    )


async def _seconds_of(doing):
    began = time.monotonic()
    await doing
    return time.monotonic() - began
