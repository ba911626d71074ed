"""Full or unreachable storage: items are retried, then fail with a reason; others are not
affected."""

import asyncio
import contextlib
import time

from service.errors import StorageFullError
from service.jobs.job import JobState
from service.jobs.running.job_worker import WorkerOptions
from service.storage.objects import open_objects
from tests.faults.small_disk import small_disk
from tests.unit.service.jobs.jobs_at_hand import (
    finished,
    job_with_uploads,
    open_in,
    queue_in,
    written,
)
from tests.unit.service.storage.s3_at_hand import local_s3

PATIENT = WorkerOptions(
    concurrency=4, polling_seconds=0.05, most_tries=1_000, retry_delays_seconds=(0.3, 0.6, 1.0)
)
IMPATIENT = WorkerOptions(
    concurrency=4, polling_seconds=0.05, most_tries=3, retry_delays_seconds=(0.2, 0.4)
)


async def transcribe(path, options, caller, on_length):
    await asyncio.sleep(0.05)
    return written(options=options)


async def test_a_full_disk_fails_what_does_not_fit_with_a_reason_and_nothing_else(
    tmp_path, monkeypatch, show
):
    disk = tmp_path / "objects"
    with small_disk(disk) as is_real:
        objects = open_in(tmp_path)
        async with queue_in(tmp_path, transcribe, worker=IMPATIENT, objects=objects) as queue:
            early = await job_with_uploads(objects, 5)
            await queue.submit(early)
            assert (await finished(queue, early)).progress.items_succeeded == 5
            late = await job_with_uploads(objects, 5)
            ballast = disk / "ballast"
            if is_real:
                with contextlib.suppress(OSError), ballast.open("wb", buffering=0) as file:
                    while True:
                        file.write(bytes(4096))
            else:
                put = objects.put

                async def full(key, content):
                    if "results" in key:
                        raise StorageFullError("no space left on device")
                    await put(key, content)

                monkeypatch.setattr(objects, "put", full)
            began = time.monotonic()
            await queue.submit(late)
            job = await finished(queue, late)
            seconds = time.monotonic() - began
            page = await queue.list_items("anna", late.job_id)
            assert job.state is JobState.FAILED
            assert job.error.code == "storage_full"
            assert [item.attempts for item in page.items] == [3] * 5
            assert seconds > 0.2 + 0.4, "with pauses between the tries"
            # Earlier results are complete, no partial file is left, and the owner only has to free
            # some room.
            for number in range(5):
                assert await objects.exists(f"jobs/{early.job_id}/results/{number:06d}")
            assert not [found async for found in objects.list_prefix("tmp")]
            ballast.unlink(missing_ok=True)
            monkeypatch.undo()
            await queue.retry("anna", late.job_id)
            job = await finished(queue, late)
            show(
                f"full disk ({'real' if is_real else 'injected'}): 5 items tried 3 times each over"
                f" {seconds:.1f} s, then failed: {page.items[0].error.message!r}; after room was"
                f" made, retried: {job.progress.items_succeeded} succeeded"
            )
            assert job.progress.items_succeeded == 5


async def test_a_store_that_goes_away_for_a_while_costs_tries_and_no_item(
    tmp_path, monkeypatch, show
):
    turns = asyncio.Semaphore(4)  # the fifth waits until the store is unreachable

    async def transcribe_in_turn(path, options, caller, on_length):
        await turns.acquire()
        return await transcribe(path, options, caller, on_length)

    with local_s3(monkeypatch) as server:
        objects = open_objects(server.url)
        async with queue_in(tmp_path, transcribe_in_turn, worker=PATIENT, objects=objects) as queue:
            new = await job_with_uploads(objects, 24)
            await queue.submit(new)
            done = asyncio.create_task(finished(queue, new))
            while (await queue.get("anna", new.job_id)).progress.items_succeeded < 4:  # noqa: ASYNC110 (another process, or the queue's threads)
                await asyncio.sleep(0.05)
            before = (await queue.get("anna", new.job_id)).progress.items_succeeded
            server.stop()
            began = time.monotonic()
            for _ in range(1_000):
                turns.release()
            while not any(i.error for i in (await queue.list_items("anna", new.job_id)).items):  # noqa: ASYNC110 (the same)
                await asyncio.sleep(0.05)
            server.start()
            seconds = time.monotonic() - began
            job = await done
            page = await queue.list_items("anna", new.job_id)
            more = sum(item.attempts > 1 for item in page.items)
            show(
                f"S3 gone for {seconds:.1f} s: {before} of 24 done before, {more} items tried again"
                f" (at most {max(item.attempts for item in page.items)} times),"
                f" {job.progress.items_succeeded} succeeded, {job.progress.items_failed} failed"
            )
            assert more > 0
            assert job.progress.items_succeeded == 24


async def test_a_store_that_stays_away_fails_the_items_with_a_reason(tmp_path, monkeypatch, show):
    with local_s3(monkeypatch) as server:
        objects = open_objects(server.url)
        async with queue_in(tmp_path, transcribe, worker=IMPATIENT, objects=objects) as queue:
            new = await job_with_uploads(objects, 3)
            server.stop()
            await queue.submit(new)
            job = await finished(queue, new)
            page = await queue.list_items("anna", new.job_id)
            show(f"S3 gone for good: {[item.attempts for item in page.items]} tries; {job.error}")
            assert job.state is JobState.FAILED
            assert job.error.code == "storage_unavailable"
            assert [item.attempts for item in page.items] == [3, 3, 3]
