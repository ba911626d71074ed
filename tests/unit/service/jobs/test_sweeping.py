"""The sweep finds lost tasks, in turns, and one process at a time sweeps."""

import asyncio
import contextlib
import dataclasses
import os
import random
import sqlite3
import time

import pytest
import sqlalchemy as sa

from service.errors import StorageUnavailableError
from service.jobs.job import JobState
from tests.unit.service.jobs.jobs_at_hand import (
    QUICK,
    change,
    finished,
    job_with_uploads,
    new_job,
    open_in,
    queue_in,
)
from tests.unit.service.jobs.queue_files import transcribe
from tests.waiting import until

pytestmark = pytest.mark.slow


def lose_orders(folder, like):
    return change(folder, f"delete from workflow_status where workflow_uuid like '{like}'")


async def test_the_sweep_gives_an_item_whose_order_was_lost_a_new_one(tmp_path):
    objects = open_in(tmp_path)
    shift = [0.0]
    async with queue_in(tmp_path, clock=lambda: time.time() + shift[0]) as queue:
        new = await job_with_uploads(objects, 2)
        await queue.submit(new)
    change(tmp_path, "update mt3_item set state = 'processing', started_at = 1")
    lose_orders(tmp_path, "%:000001:0")
    async with queue_in(tmp_path, transcribe) as queue:
        assert (await queue.sweep()).mended == 1
        job = await finished(queue, new)
        assert job.progress.items_succeeded == 2


async def test_an_item_whose_order_was_lost_before_it_was_begun_gets_a_new_one(tmp_path):
    objects = open_in(tmp_path)
    async with queue_in(tmp_path) as queue:
        new = await job_with_uploads(objects, 2)
        await queue.submit(new)
        assert (await queue.get_item("anna", new.job_id, 1)).started_at is None
    assert lose_orders(tmp_path, "%:000001:0") == 1
    shift = [0.0]
    async with queue_in(tmp_path, clock=lambda: time.time() + shift[0]) as queue:
        assert (await queue.sweep()).mended == 0, "just submitted"
        shift[0] = 61.0
        assert (await queue.sweep()).mended == 1
        assert (await queue.sweep()).mended == 0
    async with queue_in(tmp_path, transcribe) as queue:
        assert (await finished(queue, new)).progress.items_succeeded == 2


async def test_every_waiting_item_is_looked_up_in_some_sweep(tmp_path):
    shift = [0.0]
    async with queue_in(tmp_path, checked_items=4, clock=lambda: time.time() + shift[0]) as queue:
        for _ in range(3):
            await queue.submit(new_job(3))
        shift[0] = 61.0
        assert lose_orders(tmp_path, "%:000002:0") == 3
        mended = [(await queue.sweep()).mended for _ in range(3)]
        # By key, four at a time: 0 1 2 0 | 1 2 0 1 | 2; every 2 was lost.
        assert mended == [1, 1, 1]
        lose_orders(tmp_path, "%:000000:0")
        assert sum([(await queue.sweep()).mended for _ in range(3)]) == 3, "and from the first"
        assert (await queue.backlog()).queued_items == 9


async def test_items_begun_are_looked_up_though_thousands_wait_before_them(tmp_path):
    shift = [0.0]
    async with queue_in(tmp_path, checked_items=4, clock=lambda: time.time() + shift[0]) as queue:
        new = new_job(9)
        await queue.submit(new)
        change(
            tmp_path, "update mt3_item set state = 'processing', started_at = 1 where number = 8"
        )
        lose_orders(tmp_path, "%:000008:0")
        shift[0] = 61.0
        assert (await queue.sweep()).mended == 1
        assert (await queue.get_item("anna", new.job_id, 8)).state is JobState.QUEUED


async def test_an_order_claimed_and_then_forgotten_by_the_engine_is_placed_anew(tmp_path):
    """The database fails between the claim and the start of the task."""
    begun, held = asyncio.Event(), asyncio.Event()

    async def held_back(*arguments):
        begun.set()
        await held.wait()
        return await transcribe(*arguments)

    worker = dataclasses.replace(QUICK, concurrency=1, stalled_seconds=0.2)
    objects = open_in(tmp_path)
    async with queue_in(tmp_path, held_back, worker=worker) as queue:
        new = await job_with_uploads(objects, 3)
        await queue.submit(new)
        await begun.wait()
        forgotten = change(
            tmp_path,
            "update workflow_status set status = 'PENDING', executor_id = 'local'"
            " where workflow_uuid like '%:000002:0'",
        )
        assert forgotten == 1
        held.set()
        job = await finished(queue, new)
    assert job.progress.items_succeeded == 3
    with contextlib.closing(sqlite3.connect(tmp_path / "jobs.sqlite")) as database:
        runs = database.execute("select number, run from mt3_item order by number").fetchall()
    assert runs == [(0, 0), (1, 0), (2, 1)], "what was in hand was not placed again"


async def test_a_start_lists_no_storage_before_its_random_time(tmp_path, monkeypatch):
    monkeypatch.setattr(random, "uniform", lambda least, most: least + 0.25 * (most - least))
    objects = open_in(tmp_path)
    await job_with_uploads(objects, 2)  # never submitted
    month = time.time() - 30 * 86_400
    for path in (tmp_path / "objects").rglob("*"):
        os.utime(path, (month, month))
    shift = [0.0]
    async with queue_in(
        tmp_path, clock=lambda: time.time() + shift[0], orphan_interval_seconds=4_000.0
    ) as queue:
        assert (await queue.sweep()).orphans == 0
        shift[0] = 1_001.0
        assert (await queue.sweep()).orphans == 2


@pytest.mark.postgres
async def test_one_process_sweeps_until_it_ends_and_then_another(tmp_path, postgres_url):
    now = [time.time()]

    def opened():
        return queue_in(tmp_path, url=postgres_url, clock=lambda: now[0], retention_seconds=60.0)

    async with opened() as other:
        async with opened() as first:
            assert (await first.sweep()).jobs == 0
            new = new_job()
            await other.submit(new)
            await other.cancel("anna", new.job_id)
            now[0] += 61.0
            assert (await other.sweep()).jobs == 0, "the first's turn"
            assert (await first.sweep()).jobs == 1
        await until(other._database.acquire_sweep_lock)  # Postgres notices in its own time


@pytest.mark.postgres
async def test_a_sweeper_that_fails_or_loses_its_session_is_none(tmp_path, postgres_url):
    def fail(prefix):
        raise StorageUnavailableError(prefix)

    objects = open_in(tmp_path)
    objects.list_prefix = fail
    async with (
        queue_in(tmp_path, url=postgres_url, objects=objects, orphan_interval_seconds=0.0) as first,
        queue_in(tmp_path, url=postgres_url) as second,
    ):
        with pytest.raises(StorageUnavailableError):
            await first.sweep()
        await until(second._database.acquire_sweep_lock)
        assert not await first._database.acquire_sweep_lock()
        await first._database.run(
            lambda c: c.execute(
                sa.text(
                    "select pg_terminate_backend(pid) from pg_locks where locktype = 'advisory'"
                )
            )
        )
        await until(first._database.acquire_sweep_lock)
        assert not await second._database.acquire_sweep_lock()
