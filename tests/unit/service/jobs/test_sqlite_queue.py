"""The queue on SQLite: jobs from their submission to each kind of end."""

import asyncio
import base64
import contextlib
import json
import sqlite3
import threading
import time

import pytest
from dbos import DBOS

from mt3_model.errors import OptionError
from mt3_model.export.record import from_record, to_record
from service.errors import (
    DatabaseInUseError,
    IdempotencyError,
    JobConflictError,
    JobError,
    JobNotFoundError,
)
from service.item_processing import ItemProcessor
from service.jobs.job import Failure, ItemSource, JobState, input_key
from tests.unit.service.jobs.jobs_at_hand import (
    QUICK,
    change,
    finished,
    job_with_uploads,
    new_job,
    open_in,
    queue_in,
    transcription,
    written,
)
from tests.unit.service.jobs.queue_files import files, rows, transcribe
from tests.unit.service.jobs.refreshing import check_refresh
from tests.unit.service.jobs.small_tenant import check_small_tenant
from tests.waiting import until

pytestmark = pytest.mark.slow


async def test_a_job_goes_from_queued_to_succeeded_and_its_results_are_exact(tmp_path):
    objects = open_in(tmp_path)
    async with queue_in(tmp_path, transcribe) as queue:
        new = await job_with_uploads(objects, 5, metadata={"mine": "x"})
        submitted = await queue.submit(new)
        assert submitted.is_new
        assert submitted.job.state is JobState.QUEUED
        assert submitted.job.progress.items_total == 5
        job = await finished(queue, new)
        assert job.state is JobState.SUCCEEDED
        assert job.metadata == {"mine": "x"}
        assert job.created_at <= job.started_at <= job.ended_at < job.expires_at
        assert job.progress.items_succeeded == job.progress.items_done == 5
        assert job.progress.audio_seconds_done == job.progress.audio_seconds_total == 10.0
        page = await queue.list_items("anna", job.job_id)
        assert [item.attempts for item in page.items] == [1] * 5
        assert page.items[0].warnings == transcription().warnings
        for item in page.items:
            assert from_record(await objects.get(item.result_key)) == transcription()
    assert not list(tmp_path.glob("mt3-item-*"))


async def test_a_bad_file_fails_its_item_with_a_reason_and_not_the_job(tmp_path):
    objects = open_in(tmp_path)
    async with queue_in(tmp_path, transcribe) as queue:
        new = await job_with_uploads(objects, 3)
        await objects.put(input_key(new.job_id, 1), b"noise")
        await queue.submit(new)
        job = await finished(queue, new)
        assert job.state is JobState.SUCCEEDED
        assert (job.progress.items_succeeded, job.progress.items_failed) == (2, 1)
        bad = await queue.get_item("anna", new.job_id, 1)
        assert bad.error == Failure(code="audio_undecodable", message="this is not audio")
        assert bad.attempts == 1
        alone = await job_with_uploads(objects, 1, content=b"noise")
        await queue.submit(alone)
        assert (await finished(queue, alone)).state is JobState.FAILED
        assert (await finished(queue, alone)).error == bad.error


@pytest.mark.parametrize(
    ("content", "code"),
    [(b"broken device", "engine_failure"), (b"fault of ours", "internal_error")],
)
async def test_what_may_pass_is_tried_again_and_then_fails_with_the_reason(tmp_path, content, code):
    objects = open_in(tmp_path)
    async with queue_in(tmp_path, transcribe) as queue:
        new = await job_with_uploads(objects, 1, content=content)
        await queue.submit(new)
        job = await finished(queue, new)
        item = await queue.get_item("anna", new.job_id, 0)
        assert job.state is item.state is JobState.FAILED
        assert item.attempts == 3
        assert item.error.code == code
        assert "tried 3 times" in item.error.message
        # Its owner may retry it; it then has all its tries again.
        await objects.put(input_key(new.job_id, 0), b"sound")
        assert (await queue.retry("anna", new.job_id)).state is JobState.QUEUED
        job = await finished(queue, new)
        assert job.state is JobState.SUCCEEDED
        assert (await queue.get_item("anna", new.job_id, 0)).error is None


async def test_an_item_whose_result_is_there_is_not_done_again(tmp_path):
    objects = open_in(tmp_path)
    calls = []

    async def count(path, options, caller, on_length):
        calls.append(path)
        return written(options=options)

    async with queue_in(tmp_path, count) as queue:
        new = await job_with_uploads(objects, 1)
        await objects.put(f"jobs/{new.job_id}/results/000000", to_record(transcription(7.0)))
        await queue.submit(new)
        job = await finished(queue, new)
        assert not calls
        assert job.progress.audio_seconds_done == 7.0


async def test_cancel_keeps_what_is_done_and_interrupts_the_rest(tmp_path):
    objects = open_in(tmp_path)
    async with queue_in(tmp_path, transcribe) as queue:
        new = await job_with_uploads(objects, 12, content=b"for ever")
        await objects.put(input_key(new.job_id, 0), b"sound")
        await queue.submit(new)

        async def first_is_done():
            return (await queue.get("anna", new.job_id)).progress.items_succeeded == 1

        await until(first_is_done)
        job = await queue.cancel("anna", new.job_id)
        assert job.state is JobState.CANCELED
        assert (job.progress.items_succeeded, job.progress.items_canceled) == (1, 11)
        assert (await queue.cancel("anna", new.job_id)).state is JobState.CANCELED
        with pytest.raises(JobConflictError, match="canceled"):
            await queue.retry("anna", new.job_id)
        # The places of the canceled items are free again.
        after = await job_with_uploads(objects, 12)
        await queue.submit(after)
        assert (await finished(queue, after)).state is JobState.SUCCEEDED


async def test_the_same_key_and_body_is_the_same_job_and_another_body_is_refused(tmp_path):
    objects = open_in(tmp_path)
    async with queue_in(tmp_path) as queue:
        made = [
            await job_with_uploads(objects, 1, idempotency_key="k", body_hash="h") for _ in range(4)
        ]
        submissions = await asyncio.gather(*(queue.submit(new) for new in made))
        assert sum(s.is_new for s in submissions) == 1
        assert len({s.job.job_id for s in submissions}) == 1
        assert len(files(tmp_path)) == 1, "the uploads of the others are gone"
        with pytest.raises(IdempotencyError, match=submissions[0].job.job_id):
            await queue.submit(
                await job_with_uploads(objects, 1, idempotency_key="k", body_hash="other")
            )
        assert len(files(tmp_path)) == 1
        other_tenant = new_job(tenant="bert", idempotency_key="k", body_hash="other")
        assert (await queue.submit(other_tenant)).is_new


async def test_another_tenants_job_is_not_there(tmp_path):
    async with queue_in(tmp_path) as queue:
        new = new_job(2)
        await queue.submit(new)
        for ask in (queue.get, queue.cancel, queue.delete, queue.retry, queue.list_items):
            with pytest.raises(JobNotFoundError):
                await ask("bert", new.job_id)
        for number in (-1, 2, 2**70):
            with pytest.raises(JobNotFoundError):
                await queue.get_item("anna", new.job_id, number)
        assert (await queue.list_jobs("bert")).jobs == ()


async def test_pages_have_every_job_once_also_while_jobs_come(tmp_path):
    async with queue_in(tmp_path) as queue:
        made = [new_job() for _ in range(7)]
        for new in made:
            await queue.submit(new)
        seen, after = [], None
        while True:
            page = await queue.list_jobs("anna", limit=3, after=after)
            seen += [job.job_id for job in page.jobs]
            await queue.submit(new_job())  # ahead of the cursor: not seen any more
            if (after := page.next_cursor) is None:
                break
        assert seen == [new.job_id for new in reversed(made)]
        assert (await queue.list_jobs("anna", state=JobState.FAILED)).jobs == ()
        deep = base64.urlsafe_b64encode(b"[" * 40_000).decode()
        no_number = base64.urlsafe_b64encode(b'[NaN, "job_0123456789abcdef01234567"]').decode()
        for cursor in ("", "x", "%%%", "é", "bnVsbA", "WzEsMl0", "WzFlOTk5XQ", deep, no_number):
            with pytest.raises(OptionError, match="next_cursor"):
                await queue.list_items("anna", made[0].job_id, after=cursor)
            with pytest.raises(OptionError, match="next_cursor"):
                await queue.list_jobs("anna", after=cursor)


async def test_pages_of_items_go_by_number_and_state(tmp_path):
    async with queue_in(tmp_path) as queue:
        new = new_job(5)
        await queue.submit(new)
        first = await queue.list_items("anna", new.job_id, limit=2)
        second = await queue.list_items("anna", new.job_id, limit=3, after=first.next_cursor)
        assert [item.number for item in first.items + second.items] == [0, 1, 2, 3, 4]
        assert second.next_cursor is None
        assert not (await queue.list_items("anna", new.job_id, state=JobState.FAILED)).items
        assert first.items[0].source == ItemSource(kind="upload", reference="uploads/none")


async def test_jobs_are_read_again_together(tmp_path):
    async with queue_in(tmp_path, transcribe, grace_seconds=0.0) as queue:
        await check_refresh(tmp_path, queue)


async def test_the_position_counts_the_owners_own_items_ahead(tmp_path):
    async with queue_in(tmp_path) as queue:
        first, other, second = new_job(5), new_job(100, tenant="bert"), new_job(2)
        for new in (first, other, second):
            await queue.submit(new)
        assert (await queue.get("anna", first.job_id)).queue_position == 0
        assert (await queue.get("anna", second.job_id)).queue_position == 5
        assert (await queue.backlog()).queued_items == 107
        await queue.cancel("anna", first.job_id)
        assert (await queue.get("anna", second.job_id)).queue_position == 0


async def test_delete_leaves_no_file_and_no_row(tmp_path, show):
    objects = open_in(tmp_path)
    async with queue_in(tmp_path, transcribe) as queue:
        new = await job_with_uploads(objects, 4)
        await objects.put(input_key(new.job_id, 1), b"broken device")  # several orders
        await queue.submit(new)
        await finished(queue, new)
        before = rows(tmp_path)
        assert before["workflow_status"] == 4 + 2
        assert len(files(tmp_path)) == 4 + 3
        await queue.delete("anna", new.job_id)
        assert not files(tmp_path)
        with pytest.raises(JobNotFoundError):
            await queue.get("anna", new.job_id)
    left = rows(tmp_path)
    show(f"rows before the delete: {sum(before.values())}, after: {sum(left.values())}; files: 0")
    assert not {table: count for table, count in left.items() if count}
    assert not list((tmp_path / "objects").rglob("*/job_*"))


async def test_what_was_deleted_is_in_no_byte_of_the_database(tmp_path):
    objects = open_in(tmp_path)
    async with queue_in(tmp_path, transcribe) as queue:
        new = await job_with_uploads(objects, 40, metadata={"album": "a secret of ours"})
        traces = [new.job_id.encode(), b"a secret of ours", b"39.wav"]
        await queue.submit(new)
        await finished(queue, new)
        assert all(trace in stored_bytes(tmp_path) for trace in traces)
        await queue.delete("anna", new.job_id)
        await queue.sweep()  # the write-ahead log with deleted data is truncated at the next sweep
        assert not any(trace in stored_bytes(tmp_path) for trace in traces)


def stored_bytes(folder):
    return b"".join(path.read_bytes() for path in folder.glob("jobs.sqlite*"))


async def test_a_job_deleted_while_it_runs_is_gone_at_once_and_its_rows_after_the_sweep(tmp_path):
    objects = open_in(tmp_path)
    shift = [0.0]
    begun, interrupted = [], []

    async def note_interruption(*arguments):
        begun.append(arguments)
        try:
            return await transcribe(*arguments)
        except asyncio.CancelledError:
            interrupted.append(arguments)
            raise

    async with queue_in(tmp_path, note_interruption, clock=lambda: time.time() + shift[0]) as queue:
        new = await job_with_uploads(objects, 12, content=b"for ever", metadata={"secret": "name"})
        await queue.submit(new)

        # Before, an item may count as processing and still have to be read.
        await until(lambda: len(begun) == 6)
        await queue.delete("anna", new.job_id)
        with pytest.raises(JobNotFoundError):
            await queue.get("anna", new.job_id)
        assert not files(tmp_path)
        with contextlib.closing(sqlite3.connect(tmp_path / "jobs.sqlite")) as database:
            kept = json.dumps(database.execute("select * from mt3_job").fetchall())
            kept += json.dumps(database.execute("select * from mt3_item").fetchall())
            assert not any(word in kept for word in ("anna", "secret", ".wav", "inputs"))

        async def are_interrupted():  # the engine looks for canceled tasks once a second
            return len(interrupted) == 6

        await until(are_interrupted)
        shift[0] = 60.0
        assert (await queue.sweep()).jobs == 1
    assert not any(rows(tmp_path).values())
    assert not files(tmp_path)


async def test_the_sweep_removes_what_has_expired_and_what_belongs_to_nobody(tmp_path):
    objects = open_in(tmp_path)
    shift = [0.0]
    async with queue_in(
        tmp_path, transcribe, clock=lambda: time.time() + shift[0], retention_seconds=3600.0,
        orphan_seconds=5_000.0, orphan_interval_seconds=0.0,
    ) as queue:  # fmt: skip
        short = await job_with_uploads(objects, 2, retention_seconds=60.0)
        long = await job_with_uploads(objects, 2, retention_seconds=1e9)
        for new in (short, long):
            await queue.submit(new)
            await finished(queue, new)
        await job_with_uploads(objects, 3)  # never submitted
        await objects.put("tmp/left", b"by a process that was killed")
        assert await queue.sweep() == await queue.sweep()
        shift[0] = 61.0
        swept = await queue.sweep()
        assert (swept.jobs, swept.objects, swept.orphans) == (1, 4, 0)
        assert [j.job_id for j in (await queue.list_jobs("anna")).jobs] == [long.job_id]
        shift[0] = 3601.0  # the deployment's retention bounds what a caller may ask for
        assert (await queue.sweep()).jobs == 1
        shift[0] = 5001.0
        assert (await queue.sweep()).orphans == 4
        assert not files(tmp_path)
    assert not any(rows(tmp_path).values())


async def test_what_runs_at_the_shutdown_is_put_back_and_done_by_the_next_process(tmp_path):
    objects = open_in(tmp_path)
    async with queue_in(tmp_path, transcribe, grace_seconds=0.1) as queue:
        new = await job_with_uploads(objects, 10, content=b"for ever")
        await queue.submit(new)

        async def some_run():
            return (await queue.get("anna", new.job_id)).progress.items_processing == 6

        await until(some_run)
    for number in range(10):
        await objects.put(input_key(new.job_id, number), b"sound")
    async with queue_in(tmp_path) as queue:
        progress = (await queue.get("anna", new.job_id)).progress
        assert progress.items_processing == 0, "put back in order"
    async with queue_in(tmp_path, transcribe) as queue:
        job = await finished(queue, new)
        assert job.state is JobState.SUCCEEDED
        assert job.progress.items_succeeded == 10
        page = await queue.list_items("anna", new.job_id)
        assert sorted(item.attempts for item in page.items) == [1] * 4 + [2] * 6


async def test_work_stopped_while_it_begins_ends_in_order_and_can_begin_again(
    tmp_path, monkeypatch
):
    order, is_launching, may_launch = [], threading.Event(), threading.Event()
    launch, destroy = DBOS.launch, DBOS.destroy

    def launch_slowly():
        is_launching.set()
        assert may_launch.wait(60)
        launch()
        order.append("launched")

    def note_and_destroy(**options):
        order.append("destroyed")
        destroy(**options)

    monkeypatch.setattr(DBOS, "launch", launch_slowly)
    monkeypatch.setattr(DBOS, "destroy", note_and_destroy)
    objects = open_in(tmp_path)
    async with queue_in(tmp_path, objects=objects) as queue:  # accepts jobs, runs none
        job = await job_with_uploads(objects, 1)
        await queue.submit(job)
        handler = ItemProcessor(objects, transcribe, folder=tmp_path).process
        beginning = asyncio.create_task(queue.work(handler, QUICK))
        await asyncio.to_thread(is_launching.wait)
        beginning.cancel()
        await asyncio.sleep(0)
        may_launch.set()
        await asyncio.wait({beginning})
    assert beginning.cancelled()
    assert order == ["launched", "destroyed"]
    monkeypatch.undo()
    async with queue_in(tmp_path, transcribe, objects=objects) as queue:
        assert (await finished(queue, job)).state is JobState.SUCCEEDED


async def test_a_second_process_on_the_same_file_is_refused(tmp_path):
    async with queue_in(tmp_path) as queue:
        with pytest.raises(DatabaseInUseError, match=r"in use by process \d+"):
            async with queue_in(tmp_path):
                pass
        await queue.submit(new_job())
    async with queue_in(tmp_path):
        pass


@pytest.mark.parametrize("url", ["nonsense", "mysql://host/db", "sqlite://", "sqlite:///:memory:"])
async def test_other_databases_are_refused_by_name(tmp_path, url):
    with pytest.raises(JobError, match=r"expected|file"):
        async with queue_in(tmp_path, url=url):
            pass


async def test_tables_of_a_later_version_are_left_alone(tmp_path):
    async with queue_in(tmp_path):
        pass
    change(tmp_path, "update mt3_schema set version = 99")
    with pytest.raises(JobError, match="99"):
        async with queue_in(tmp_path):
            pass


async def test_the_database_keeps_every_commit_and_lets_readers_read(tmp_path):
    async with queue_in(tmp_path) as queue:
        pragmas = await queue._database.run(
            lambda c: [
                c.exec_driver_sql(f"PRAGMA {p}").scalar() for p in ("journal_mode", "synchronous")
            ]
        )
    assert pragmas == ["wal", 2]  # 2: FULL


async def test_a_small_tenant_does_not_wait_for_ten_thousand_items(tmp_path, show):
    show(await check_small_tenant(tmp_path, f"sqlite:///{tmp_path}/jobs.sqlite"))
