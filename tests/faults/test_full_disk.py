"""On a full disk or a read-only storage, jobs can be deleted, and nothing is left of them."""

import contextlib
import os
import sqlite3
import time

import pytest
from sqlalchemy import event, exc

from service.errors import JobNotFoundError, StorageFullError, StorageUnavailableError
from service.jobs.job import JobState
from tests.faults.small_disk import small_disk
from tests.unit.service.jobs.jobs_at_hand import job_with_uploads, new_job, open_in, queue_in


@contextlib.contextmanager
def full(queue, *, is_full=lambda: True):
    """Raises SQLite's error of a full disk for every write while ``is_full``."""
    engine = queue._database.engine

    def note(connection):
        connection.info["changes"] = total_changes(connection)

    def refuse(connection):
        if total_changes(connection) > connection.info["changes"] and is_full():
            error = sqlite3.OperationalError("database or disk is full")
            error.sqlite_errorcode = sqlite3.SQLITE_FULL
            raise exc.OperationalError("", None, error)

    event.listen(engine, "begin", note)
    event.listen(engine, "commit", refuse)
    try:
        yield
    finally:
        event.remove(engine, "begin", note)
        event.remove(engine, "commit", refuse)


def total_changes(connection):
    return connection.connection.driver_connection.total_changes


def reserve(folder):
    return folder / "jobs.sqlite.reserve"


async def submit_many(queue):
    for _ in range(1_000):  # the write-ahead log has some room of its own
        await queue.submit(new_job())


async def keys(objects):
    return [found.key async for found in objects.list_prefix("jobs")]


async def test_a_submission_refused_for_want_of_room_leaves_no_objects(tmp_path):
    objects = open_in(tmp_path)
    async with queue_in(tmp_path) as queue:
        with full(queue), pytest.raises(StorageFullError, match="delete jobs"):
            await queue.submit(await job_with_uploads(objects, 3))
        assert await keys(objects) == []
        assert reserve(tmp_path).exists(), "not for submissions"
        await queue.submit(await job_with_uploads(objects, 3))


async def test_a_deletion_takes_the_reserve_and_the_sweep_makes_it_again(tmp_path):
    objects = open_in(tmp_path)
    async with queue_in(tmp_path) as queue:
        new = await job_with_uploads(objects, 2)
        await queue.submit(new)
        with full(queue, is_full=reserve(tmp_path).exists):
            await queue.delete("anna", new.job_id)
        with pytest.raises(JobNotFoundError):
            await queue.get("anna", new.job_id)
        assert await keys(objects) == []
        assert not reserve(tmp_path).exists()
        await queue.sweep()
        assert reserve(tmp_path).exists()


async def test_without_a_reserve_the_objects_make_room_for_the_deletion(tmp_path):
    objects = open_in(tmp_path)
    held = tmp_path / "objects" / "jobs"
    async with queue_in(tmp_path) as queue:
        new = await job_with_uploads(objects, 2)
        await queue.submit(new)
        reserve(tmp_path).unlink()
        with full(queue, is_full=lambda: any(held.iterdir())):
            await queue.delete("anna", new.job_id)
        with pytest.raises(JobNotFoundError):
            await queue.get("anna", new.job_id)


@pytest.mark.parametrize("has_reserve", [True, False])
async def test_what_has_expired_goes_from_a_full_disk(tmp_path, has_reserve):
    objects = open_in(tmp_path)
    held = tmp_path / "objects" / "jobs"
    shift = [0.0]
    async with queue_in(
        tmp_path, clock=lambda: time.time() + shift[0], retention_seconds=60.0
    ) as queue:
        new = await job_with_uploads(objects, 2)
        await queue.submit(new)
        await queue.cancel("anna", new.job_id)
        shift[0] = 61.0
        if not has_reserve:
            reserve(tmp_path).unlink()
        is_full = reserve(tmp_path).exists if has_reserve else lambda: any(held.iterdir())
        with full(queue, is_full=is_full):
            assert (await queue.sweep()).jobs == 1
        assert await keys(objects) == []


async def test_a_disk_that_stays_full_refuses_a_deletion_that_can_be_tried_again(tmp_path):
    objects = open_in(tmp_path)
    async with queue_in(tmp_path) as queue:
        new = await job_with_uploads(objects, 2)
        await queue.submit(new)
        with full(queue), pytest.raises(StorageFullError):
            await queue.delete("anna", new.job_id)
        assert (await queue.get("anna", new.job_id)).state is JobState.QUEUED
        await queue.delete("anna", new.job_id)
        with pytest.raises(JobNotFoundError):
            await queue.get("anna", new.job_id)


async def test_a_storage_that_refuses_to_delete_leaves_the_job_as_it_was(tmp_path):
    objects = open_in(tmp_path)
    async with queue_in(tmp_path) as queue:
        new = await job_with_uploads(objects, 2, metadata={"album": "first"})
        await queue.submit(new)

        async def refuse(prefix):
            raise StorageUnavailableError(prefix)

        delete_prefix, objects_of_queue = queue._objects.delete_prefix, queue._objects
        objects_of_queue.delete_prefix = refuse
        with pytest.raises(StorageUnavailableError):
            await queue.delete("anna", new.job_id)
        job = await queue.get("anna", new.job_id)
        assert (job.state, job.metadata) == (JobState.QUEUED, {"album": "first"})
        assert len(await keys(objects)) == 2
        objects_of_queue.delete_prefix = delete_prefix
        await queue.delete("anna", new.job_id)
        assert await keys(objects) == []


async def test_a_disk_of_four_megabytes_is_emptied_and_filled_again(tmp_path):
    disk = tmp_path / "disk"
    with small_disk(disk, "4m") as is_real:
        if not is_real:
            pytest.skip("no file system can be mounted here: the tests above inject the same")
        objects = open_in(disk)
        async with queue_in(disk) as queue:
            held = []
            with contextlib.suppress(StorageFullError):
                while True:
                    new = await job_with_uploads(objects, 1, content=os.urandom(150_000))
                    await queue.submit(new)
                    held.append(new)
            with contextlib.suppress(OSError), (disk / "ballast").open("wb", buffering=0) as file:
                while True:
                    file.write(bytes(512))
            with pytest.raises(StorageFullError):
                await submit_many(queue)
            for new in held:
                await queue.delete("anna", new.job_id)
            new = await job_with_uploads(objects, 1, content=os.urandom(150_000))
            await queue.submit(new)
