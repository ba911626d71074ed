"""Three workers on Postgres, of which one dies; and a Postgres that goes away."""

import asyncio
import time

import pytest

from service.jobs.job import JobState
from tests.faults.workers import LONG, lines, redone, until, whole_results, workers
from tests.unit.service.jobs.jobs_at_hand import finished, job_with_uploads, open_in, queue_in

pytestmark = pytest.mark.postgres
TAKEOVER_SECONDS = 10


async def test_a_dead_workers_items_are_taken_over_within_seconds(tmp_path, postgres_url, tell):
    items = int(150 * LONG)
    objects = open_in(tmp_path)
    new = await job_with_uploads(objects, items, content=b"sleep 0.5")
    async with queue_in(tmp_path, url=postgres_url) as queue:
        await queue.submit(new)
        with workers(postgres_url, tmp_path, 3) as (first, second, third):

            def all_work():
                return len({words[2] for words in lines(tmp_path, "stored")}) == 3

            def in_the_middle():
                done = {words[0] for words in lines(tmp_path, "stored")}
                return any(
                    name == first.name and key not in done and time.time() - float(at) < 0.25
                    for key, at, name in lines(tmp_path, "begun")
                )

            await until(all_work, 30, "three workers at work")
            await until(in_the_middle, 10, "the first has just begun something")
            first.kill()
            killed_at = time.time()
            stored = {words[0] for words in lines(tmp_path, "stored")}
            its = {
                words[0] for words in lines(tmp_path, "begun") if words[2] == first.name
            } - stored
            assert its, "it died in the middle of some"

            def taken_over():
                after = {
                    key: float(at) for key, at, name in lines(tmp_path, "begun")
                    if name != first.name and float(at) > killed_at
                }  # fmt: skip
                return its <= set(after) and max(after[key] for key in its)

            await until(taken_over, 30, "taken over")
            takeover_seconds = taken_over() - killed_at
            job = await finished(queue, new, 60)
            assert second.stop() == third.stop() == 0
    results = await whole_results(tmp_path, new.job_id)
    tell(
        f"three workers, one killed with {len(its)} items begun: begun again by the others within"
        f" {takeover_seconds:.1f} s; {results} of {items} results, {items - results} lost, finished"
        f" work done twice {redone(tmp_path)}"
    )
    assert takeover_seconds < TAKEOVER_SECONDS
    assert job.state is JobState.SUCCEEDED
    assert results == job.progress.items_succeeded == items
    assert redone(tmp_path) == 0


async def test_a_restart_of_postgres_in_mid_job_needs_nobody(
    tmp_path, postgres, postgres_url, tell
):
    items = int(150 * LONG)
    objects = open_in(tmp_path)
    new = await job_with_uploads(objects, items, content=b"sleep 0.3")
    async with queue_in(tmp_path, url=postgres_url) as queue:
        await queue.submit(new)
        with workers(postgres_url, tmp_path, 2) as pair:
            await until(lambda: len(lines(tmp_path, "stored")) > items // 5, 30, "a fifth done")
            postgres.stop("immediate")  # as when it crashes: no connection is ended in order
            await asyncio.sleep(3.0)
            assert all(worker.is_alive for worker in pair)
            before = len(lines(tmp_path, "stored"))
            postgres.start()
            began = time.monotonic()
            await until(lambda: len(lines(tmp_path, "stored")) > before + 8, 30, "going on")
            going_on_seconds = time.monotonic() - began
            job = await finished(queue, new, 90)
            assert all(worker.is_alive for worker in pair)
            # Slots were taken again: a worker that dies now is noticed like any other.
            pair[0].kill()
    results = await whole_results(tmp_path, new.job_id)
    tell(
        f"Postgres gone for 3 s: {before} of {items} done before; items went on"
        f" {going_on_seconds:.1f} s after it was back; {items - results} lost, finished work done"
        f" twice {redone(tmp_path)}"
    )
    assert job.state is JobState.SUCCEEDED
    assert results == job.progress.items_succeeded == items
