"""Database and storage are bound to each other, and no sweep deletes another's objects."""

import json
import time

import pytest
import sqlalchemy as sa

from service.database.database import Database
from service.errors import StorageFullError, StorageMismatchError, StorageUnavailableError
from service.jobs.job import result_key
from service.jobs.store.storage_binding import MARKER_KEY, StorageBinding
from service.storage.objects import open_objects
from tests.unit.service.jobs.jobs_at_hand import (
    change,
    job_with_uploads,
    new_job,
    open_in,
    queue_in,
)
from tests.unit.service.storage.s3_at_hand import local_s3

pytestmark = pytest.mark.slow


DAY = 86_400.0


def bound_queue(folder, *, objects=None, is_adopted=False, **rest):
    """Open a queue that checks its storage and searches for orphans in its first sweep."""
    objects = objects or open_in(folder)
    binding = StorageBinding(objects, storage_name="file:///objects", is_adopted=is_adopted)
    return queue_in(
        folder, objects=objects, binding=binding, orphan_interval_seconds=0.0,
        retention_seconds=1e9, **rest,
    )  # fmt: skip


def two_days_on():
    return time.time() + 2 * DAY


def bound_id(folder):
    database = Database(f"sqlite:///{folder}/jobs.sqlite")
    try:
        with database.engine.connect() as connection:
            return connection.scalar(
                sa.text("select deployment_id from mt3_deployment where bound_at is not null")
            )
    finally:
        database.close()


def marked_id(objects):
    return json.loads(objects.read_now(MARKER_KEY))["deployment_id"]


async def fill(folder, count=1, objects=None):
    """Create some jobs with a recording and a result each, and bind the storage; return the
    keys."""
    objects = objects or open_in(folder)
    async with bound_queue(folder, objects=objects) as queue:
        for _ in range(count):
            new = await job_with_uploads(objects, 1)
            await queue.submit(new)
            await objects.put(result_key(new.job_id, 0), b"result")
            await queue.cancel(new.tenant, new.job_id)
    return await keys(objects)


def lose_database(folder):
    for path in folder.glob("jobs.sqlite*"):
        path.unlink()


async def keys(objects):
    return {found.key async for found in objects.list_prefix("jobs")}


async def test_a_first_start_gives_both_the_same_id_and_the_next_finds_it(tmp_path):
    objects = open_in(tmp_path)
    async with bound_queue(tmp_path):
        first = marked_id(objects)
    assert bound_id(tmp_path) == first
    async with bound_queue(tmp_path):
        assert marked_id(objects) == first


@pytest.mark.parametrize("has_marker", [True, False])
async def test_a_new_database_is_refused_the_storage_of_the_old_one(tmp_path, has_marker):
    held = await fill(tmp_path, 2)
    objects = open_in(tmp_path)
    if not has_marker:  # as an earlier version left it
        await objects.delete(MARKER_KEY)
    lose_database(tmp_path)
    for _ in range(2):  # a supervisor starts it again
        with pytest.raises(StorageMismatchError, match="holds no jobs") as raised:
            async with bound_queue(tmp_path, clock=two_days_on):
                pass
        for said in (str(tmp_path / "jobs.sqlite"), "file:///objects", "MT3_ADOPT_STORAGE=true"):
            assert said in str(raised.value)
    assert await keys(objects) == held


async def test_a_second_deployment_is_refused_a_storage_that_is_still_empty(tmp_path):
    objects = open_in(tmp_path)
    async with bound_queue(tmp_path, objects=objects):
        other = tmp_path / "other"
        with pytest.raises(StorageMismatchError, match="is that of deployment"):
            async with bound_queue(other, objects=objects):
                pass


async def test_two_deployments_with_jobs_of_their_own_cannot_share_a_storage(tmp_path):
    await fill(tmp_path / "one")
    await fill(tmp_path / "two")
    with pytest.raises(StorageMismatchError, match="different deployments"):
        async with bound_queue(tmp_path / "one", objects=open_in(tmp_path / "two")):
            pass


async def test_of_two_databases_at_one_moment_one_gets_the_empty_storage(tmp_path):
    objects = open_in(tmp_path)
    create_now = objects.create_now

    def slower(key, content):
        create_now(key, json.dumps({"deployment_id": "the other's"}).encode())
        return create_now(key, content)

    objects.create_now = slower
    with pytest.raises(StorageMismatchError, match="at the same moment"):
        async with bound_queue(tmp_path, objects=objects):
            pass
    assert marked_id(objects) == "the other's"
    assert bound_id(tmp_path) is None
    # The failed start left nothing: with its own storage it starts.
    async with bound_queue(tmp_path, objects=open_in(tmp_path / "own")):
        pass


async def test_a_deployment_of_an_earlier_version_is_bound_without_a_word(tmp_path):
    held = await fill(tmp_path)
    objects = open_in(tmp_path)
    await objects.delete(MARKER_KEY)
    change(tmp_path, "drop table mt3_deployment")
    async with bound_queue(tmp_path, clock=two_days_on) as queue:
        assert (await queue.sweep()).orphans == 0
    assert bound_id(tmp_path) == marked_id(objects)
    assert await keys(objects) == held


async def test_a_backup_from_before_the_binding_takes_the_id_of_its_storage(tmp_path):
    await fill(tmp_path)
    objects = open_in(tmp_path)
    change(tmp_path, "drop table mt3_deployment")
    before = marked_id(objects)
    async with bound_queue(tmp_path):
        pass
    assert bound_id(tmp_path) == before == marked_id(objects)


async def test_an_earlier_version_without_jobs_is_bound_and_its_leftovers_are_kept(tmp_path):
    held = await fill(tmp_path)
    objects = open_in(tmp_path)
    await objects.delete(MARKER_KEY)
    change(tmp_path, "drop table mt3_deployment", "delete from mt3_item", "delete from mt3_job")
    async with bound_queue(tmp_path, clock=two_days_on) as queue:
        assert (await queue.sweep()).orphans == 0
        assert "MT3_ADOPT_STORAGE" in queue.faults["sweep"]
    assert await keys(objects) == held


async def test_an_emptied_database_removes_nothing_until_an_operator_says_so(tmp_path):
    held = await fill(tmp_path, 3)
    objects = open_in(tmp_path)
    change(tmp_path, "delete from mt3_item", "delete from mt3_job")
    async with bound_queue(tmp_path, clock=two_days_on) as queue:
        assert (await queue.sweep()).orphans == 0
        assert queue.faults["sweep"].startswith("3 of the 3 jobs")
    assert await keys(objects) == held
    async with bound_queue(tmp_path, is_adopted=True, clock=two_days_on) as queue:
        assert (await queue.sweep()).orphans == len(held)
        assert queue.faults["sweep"] is None


async def test_many_waiting_recordings_of_a_lost_database_are_no_orphans(tmp_path):
    objects = open_in(tmp_path)
    async with bound_queue(tmp_path, objects=objects) as queue:
        for _ in range(11):
            await queue.submit(await job_with_uploads(objects, 1))
    change(tmp_path, "delete from mt3_item", "delete from mt3_job")
    async with bound_queue(tmp_path, clock=two_days_on) as queue:
        assert (await queue.sweep()).orphans == 0
    assert len(await keys(objects)) == 11


async def test_a_backup_that_lacks_a_few_jobs_loses_these_alone(tmp_path):
    await fill(tmp_path, 3)
    objects = open_in(tmp_path)
    await objects.put(f"jobs/{'job_' + '0' * 24}/results/000000", b"newer than the backup")
    async with bound_queue(tmp_path, clock=two_days_on) as queue:
        assert (await queue.sweep()).orphans == 1
    assert len(await keys(objects)) == 6


@pytest.mark.parametrize("has_jobs", [True, False])
async def test_another_storage_than_that_of_the_database_is_refused(tmp_path, has_jobs):
    """A worker with another storage URL than the server's, or an emptied storage, is refused."""
    if has_jobs:
        await fill(tmp_path)
    else:
        async with bound_queue(tmp_path):
            pass
    with pytest.raises(StorageMismatchError, match="do not belong together"):
        async with bound_queue(tmp_path, objects=open_in(tmp_path / "elsewhere")):
            pass
    assert not open_in(tmp_path / "elsewhere").read_now(MARKER_KEY)


async def test_objects_restored_without_the_marker_are_known_by_their_jobs(tmp_path):
    held = await fill(tmp_path)
    objects = open_in(tmp_path)
    await objects.delete(MARKER_KEY)
    async with bound_queue(tmp_path):
        pass
    assert marked_id(objects) == bound_id(tmp_path)
    assert await keys(objects) == held


async def test_an_adopted_storage_keeps_its_id_and_the_database_takes_it(tmp_path):
    await fill(tmp_path)
    lose_database(tmp_path)
    objects = open_in(tmp_path)
    before = marked_id(objects)
    async with bound_queue(tmp_path, is_adopted=True):
        pass
    assert bound_id(tmp_path) == before
    async with bound_queue(tmp_path):
        pass


async def test_a_storage_that_changes_under_a_running_server_is_not_swept(tmp_path):
    await fill(tmp_path)
    objects = open_in(tmp_path)
    async with bound_queue(tmp_path, clock=two_days_on) as queue:
        await job_with_uploads(objects, 1)  # never submitted: an orphan
        await objects.delete(MARKER_KEY)
        objects.create_now(MARKER_KEY, b'{"deployment_id": "another"}')
        assert (await queue.sweep()).orphans == 0
        assert "different deployments" in queue.faults["storage"]
        await objects.delete(MARKER_KEY)
        assert (await queue.sweep()).orphans == 1
        assert queue.faults["storage"] is None


@pytest.mark.parametrize("content", [b"", b"[" * 100_000, b'{"other": 1}'])
async def test_a_marker_that_cannot_be_understood_is_no_missing_one(tmp_path, content):
    await fill(tmp_path)
    await open_in(tmp_path).put(MARKER_KEY, content)
    with pytest.raises(StorageMismatchError, match="cannot be read"):
        async with bound_queue(tmp_path):
            pass


@pytest.mark.parametrize("error", [StorageUnavailableError("gone"), StorageFullError("full")])
@pytest.mark.parametrize("call", ["read_now", "create_now"])
async def test_a_storage_that_does_not_answer_leaves_the_question_open(tmp_path, error, call):
    objects = open_in(tmp_path)
    is_away = True
    answer = getattr(objects, call)

    def ask(*arguments):
        if is_away:
            raise error
        return answer(*arguments)

    setattr(objects, call, ask)
    async with bound_queue(tmp_path, objects=objects, clock=two_days_on) as queue:
        await queue.submit(await job_with_uploads(objects, 1))
        await job_with_uploads(objects, 1)  # never submitted: an orphan
        assert (await queue.sweep()).orphans == 0
        assert queue.faults["storage"] is None, "it may be the right one"
        is_away = False
        assert (await queue.sweep()).orphans == 1
    assert bound_id(tmp_path) == marked_id(objects)


async def test_a_bucket_is_bound_and_one_that_is_away_or_missing_is_not_taken_for_new(
    tmp_path, monkeypatch
):
    with local_s3(monkeypatch) as server:
        await fill(tmp_path, objects=open_objects(server.url))
        with pytest.raises(StorageMismatchError):
            async with bound_queue(tmp_path / "other", objects=open_objects(server.url)):
                pass
        missing = open_objects(server.url.replace(server.bucket, "no-such-bucket"))
        async with bound_queue(tmp_path, objects=missing):
            pass  # opened, as while a store is away: the sweep asks again
        with pytest.raises(StorageUnavailableError):
            missing.holds_now("jobs")


@pytest.mark.postgres
async def test_processes_of_one_postgres_share_the_id_and_a_new_database_is_refused(
    tmp_path, postgres
):
    url = postgres.new_database()
    async with (
        bound_queue(tmp_path, url=url, clock=two_days_on) as first,
        bound_queue(tmp_path, url=url) as second,
    ):
        await first.submit(new_job())
        assert (await first.sweep()).orphans == 0
        assert first.faults == second.faults == dict.fromkeys(("database", "storage", "sweep"))
        with pytest.raises(StorageMismatchError, match="is that of deployment"):
            async with bound_queue(tmp_path, url=postgres.new_database()):
                pass
