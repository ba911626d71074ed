"""Three workers on Postgres, of which one dies; and a Postgres that is restarted."""

import json
import time

import psycopg
import pytest

from service.jobs.job import JobState
from tests.faults.workers import LONG, lines, redone, whole_results, workers
from tests.unit.service.jobs.jobs_at_hand import finished, job_with_uploads, open_in, queue_in
from tests.waiting import until

pytestmark = pytest.mark.postgres


async def test_a_dead_workers_items_are_taken_over_within_seconds(tmp_path, postgres_url, show):
    items = int(150 * LONG)
    objects = open_in(tmp_path)
    new = await job_with_uploads(objects, items, content=b"sleep 1.0")
    async with queue_in(tmp_path, url=postgres_url) as queue:
        with workers(postgres_url, tmp_path, 3) as (first, second, third):
            await until(lambda: len(lines(tmp_path, "ready")) == 3, "three workers ready")
            await queue.submit(new)

            def all_work():
                return len({words[2] for words in lines(tmp_path, "stored")}) == 3

            def in_the_middle():
                done = {words[0] for words in lines(tmp_path, "stored")}
                return any(
                    name == first.name and key not in done
                    for key, _, name in lines(tmp_path, "begun")
                )

            await until(all_work, "three workers at work")
            await until(in_the_middle, "the first has just begun something")
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

            await until(taken_over, "taken over")
            takeover_seconds = taken_over() - killed_at
            job = await finished(queue, new)
            assert second.stop() == third.stop() == 0
    results = await whole_results(tmp_path, new.job_id)
    show(
        f"three workers, one killed with {len(its)} items begun: begun again by the others within"
        f" {takeover_seconds:.1f} s; {results} of {items} results, {items - results} lost, finished"
        f" work done twice {redone(tmp_path)}"
    )
    assert job.state is JobState.SUCCEEDED
    assert results == job.progress.items_succeeded == items
    assert redone(tmp_path) == 0


async def test_a_restart_of_postgres_in_mid_job_needs_nobody(
    tmp_path, postgres, postgres_url, show
):
    items = int(150 * LONG)
    objects = open_in(tmp_path)
    new = await job_with_uploads(objects, items, content=b"sleep 0.3")
    async with queue_in(tmp_path, url=postgres_url) as queue:
        with workers(postgres_url, tmp_path, 2) as pair:
            await until(lambda: len(lines(tmp_path, "ready")) == 2, "two workers ready")
            await queue.submit(new)
            await until(lambda: len(lines(tmp_path, "stored")) > items // 5, "a fifth done")
            postgres.stop("immediate")  # like a crash: no connection is closed properly
            await until(
                lambda: all(worker.log.count("connection") > 3 for worker in pair), "noticed"
            )
            assert all(worker.is_alive for worker in pair)
            before = len(lines(tmp_path, "stored"))
            postgres.start()
            began = time.monotonic()
            await until(lambda: len(lines(tmp_path, "stored")) > before + 8, "going on")
            going_on_seconds = time.monotonic() - began
            job = await finished(queue, new)
            assert all(worker.is_alive for worker in pair)
            await until(lambda: slots_held(postgres_url) == 2, "both slots taken again")
            # The death of a worker is still detected.
            late = await job_with_uploads(objects, 12, content=b"sleep 2.0")
            await queue.submit(late)
            its = await killed_in_the_middle(tmp_path, pair[0], late)
            after = await finished(queue, late)
            others = {words[0] for words in lines(tmp_path, "begun") if words[2] == pair[1].name}
        for worker in pair:
            for line in worker.log.splitlines():
                json.loads(line)  # one object per line, in a fault too
    results = await whole_results(tmp_path, new.job_id)
    show(
        f"Postgres gone: {before} of {items} done before; items went on"
        f" {going_on_seconds:.1f} s after it was back; {items - results} lost, finished work done"
        f" twice {redone(tmp_path)}; of a worker killed then, {len(its)} items done by the other"
    )
    assert job.state is JobState.SUCCEEDED
    assert results == job.progress.items_succeeded == items
    assert its <= others, "the other has done what it had begun"
    assert await whole_results(tmp_path, late.job_id) == after.progress.items_succeeded == 12


async def killed_in_the_middle(folder, worker, job):
    """Kill a worker that has begun some of a job's items; return those that it leaves undone."""

    def open_items():
        stored = {words[0] for words in lines(folder, "stored")}
        return {
            key for key, _, name in lines(folder, "begun")
            if name == worker.name and job.job_id in key and key not in stored
        }  # fmt: skip

    await until(open_items, f"{worker.name} has just begun something")
    worker.kill()
    stored = {words[0] for words in lines(folder, "stored")}
    its = {key for key, _, name in lines(folder, "begun") if name == worker.name} - stored
    assert its, "it died in the middle of some"
    return its


def slots_held(url):
    """Return the number of workers that hold their lease in this database."""
    with psycopg.connect(url) as connection:
        return connection.execute(
            "select count(*) from pg_locks join pg_database d on d.oid = database"
            " where locktype = 'advisory' and granted and datname = current_database()"
        ).fetchone()[0]
