"""One process on SQLite that is killed repeatedly, from outside or by a recording."""

import asyncio
import collections
import contextlib
import random
import sqlite3
import time

from dbos import DBOS

from service.jobs import dbos_tasks
from service.jobs.job import JobState, input_key, parse_item_run
from tests.faults.workers import LONG, lines, redone, stored, whole_results, workers
from tests.unit.service.jobs.jobs_at_hand import (
    finished,
    job_with_uploads,
    open_in,
    queue_in,
    written,
)
from tests.unit.service.jobs.slow_fetches import urls
from tests.waiting import until


async def test_a_storm_of_kills_loses_nothing_and_repeats_no_finished_work(tmp_path, show):
    items, kills = int(300 * LONG), int(15 * LONG)
    objects = open_in(tmp_path)
    moments = random.Random(5)
    new = await job_with_uploads(objects, items, content=b"sleep 0.4")
    async with queue_in(tmp_path) as queue:
        await queue.submit(new)
    url = f"sqlite:///{tmp_path}/jobs.sqlite"
    began = time.monotonic()
    for kill in range(kills):
        with workers(url, tmp_path):
            await until(lambda: len(lines(tmp_path, "ready")) > kill, "started")  # noqa: B023
            # Each time at another moment: after this many more items have begun.
            enough = len(lines(tmp_path, "begun")) + moments.randrange(25)
            await until(
                lambda: len(lines(tmp_path, "begun")) >= enough or len(stored(tmp_path)) == items,  # noqa: B023
                "begun",
            )
            if kill == kills - 1:
                await until(lambda: stored(tmp_path), "something done")
            # An item that runs alone at three deaths of the process counts as their cause, so no
            # item is interrupted so often here.
            await until(lambda: not suspects(tmp_path), "done what was begun four times")
    done_in_storm = len(stored(tmp_path))
    with workers(url, tmp_path) as (last,):
        await until(lambda: len(stored(tmp_path)) == items, "done")
        assert last.stop() == 0
    async with queue_in(tmp_path) as queue:
        await queue.sweep()
        job = await queue.get("anna", new.job_id)
    results = await whole_results(tmp_path, new.job_id)
    begun = len(lines(tmp_path, "begun"))
    show(
        f"{kills} kills, {items} items: {job.progress.items_succeeded} succeeded,"
        f" {job.progress.items_failed} failed, {items - results} lost, finished work done twice"
        f" {redone(tmp_path)}, begun {begun} times ({done_in_storm} done during the storm),"
        f" {time.monotonic() - began:.0f} s"
    )
    assert 0 < done_in_storm < items, "the storm was in the middle of the work"
    assert job.state is JobState.SUCCEEDED
    assert job.progress.items_succeeded == results == items
    assert redone(tmp_path) == 0


def suspects(folder):
    """Return the items that were begun four times, twice alone, and are not done."""
    begun = collections.Counter(words[0] for words in lines(folder, "begun"))
    return {key for key, times in begun.items() if times >= 4} - stored(folder)


async def test_kills_while_recordings_are_fetched_are_held_against_none(tmp_path):
    new = urls("anna", 3, "slow")
    url = f"sqlite:///{tmp_path}/jobs.sqlite"
    async with queue_in(tmp_path) as queue:
        await queue.submit(new)
    kills = 6  # more starts of a running item would fail it
    for kill in range(kills):
        with workers(url, tmp_path):
            await until(lambda k=kill: len(lines(tmp_path, "fetching")) >= 3 * (k + 1), "begun")
    (tmp_path / "served").touch()
    with workers(url, tmp_path) as (last,):
        await until(lambda: len(stored(tmp_path)) == 3, "done")
        assert last.stop() == 0
    async with queue_in(tmp_path) as queue:
        job = await queue.get("anna", new.job_id)
        items = (await queue.list_items("anna", new.job_id)).items
    assert job.state is JobState.SUCCEEDED
    assert [item.attempts for item in items] == [kills + 1] * 3
    assert await whole_results(tmp_path, new.job_id) == 3


async def test_a_recording_that_kills_the_process_fails_alone(tmp_path, show):
    objects = open_in(tmp_path)
    new = await job_with_uploads(objects, 30, content=b"sleep 0.1")
    for poison in (4, 17):
        await objects.put(input_key(new.job_id, poison), b"poison")
    async with queue_in(tmp_path) as queue:
        await queue.submit(new)
    url = f"sqlite:///{tmp_path}/jobs.sqlite"
    deaths = 0
    while True:
        with workers(url, tmp_path) as (worker,):

            def is_over(worker=worker):
                return not worker.is_alive or is_done(tmp_path)

            await until(is_over, "died or done")
            # If all is done, let the worker record it; then read the database from here.
            deaths += not worker.is_alive or worker.stop() != 0
        async with queue_in(tmp_path) as queue:
            job = await queue.get("anna", new.job_id)
            page = await queue.list_items("anna", new.job_id, state=JobState.FAILED)
        if job.state.is_final:
            break
        assert deaths < 20
    show(
        f"2 poisoned of 30 recordings: the process died {deaths} times,"
        f" {job.progress.items_succeeded} succeeded, {job.progress.items_failed} failed"
    )
    assert [item.number for item in page.items] == [4, 17]
    assert {item.error.code for item in page.items} == {"worker_crashed"}
    assert job.state is JobState.SUCCEEDED
    assert await whole_results(tmp_path, new.job_id) == job.progress.items_succeeded == 28


def is_done(folder):
    """Return what the worker has recorded so far."""
    with contextlib.closing(sqlite3.connect(folder / "jobs.sqlite")) as database:
        ((state,),) = database.execute("select state from mt3_job").fetchall()
    return JobState(state).is_final


async def test_jobs_that_wait_through_an_upgrade_are_done_by_the_new_code(
    tmp_path, monkeypatch, show
):
    objects = open_in(tmp_path)

    async def old(path, options, caller, on_length):
        await asyncio.Event().wait()  # does not end

    async def new_code(path, options, caller, on_length):
        return written(options=options)

    new = await job_with_uploads(objects, 20)
    async with queue_in(tmp_path, old, grace_seconds=0.0) as queue:
        await queue.submit(new)
        while (await queue.get("anna", new.job_id)).progress.items_processing < 6:  # noqa: ASYNC110 (another process, or the queue's threads)
            await asyncio.sleep(0.02)

    def other_source(run_item, loop):
        """Register the workflow as later code would. By DBOS's default, a hash of the source, it
        would be another version, whose executors never get the tasks of this one."""

        async def run(task_id):
            await run_item(parse_item_run(task_id))

        async def later_step(task_id):
            await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(run(task_id), loop))

        step = DBOS.step(name="do_item", preemptible=True)(later_step)

        async def later_workflow(task_id):
            await step(task_id)

        DBOS.workflow(name=dbos_tasks.ITEM_WORKFLOW, max_recovery_attempts=None)(later_workflow)

    monkeypatch.setattr(dbos_tasks, "register_workflow", other_source)
    async with queue_in(tmp_path, new_code) as queue:
        job = await finished(queue, new)
    show(f"20 items over an upgrade, 6 of them begun: {job.progress.items_succeeded} succeeded")
    assert job.progress.items_succeeded == 20
