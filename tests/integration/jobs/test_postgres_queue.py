"""The queue on Postgres, in this process, keeps the same promises as on SQLite."""

import asyncio

import psycopg
import pytest

from mt3_model.errors import AudioFormatError
from mt3_model.export.record import from_record
from service.errors import IdempotencyError, JobNotFoundError
from service.jobs.job import JobState
from tests.unit.service.jobs.jobs_at_hand import (
    finished,
    job_with_uploads,
    new_job,
    open_in,
    queue_in,
    transcription,
    written,
)
from tests.unit.service.jobs.refreshing import check_refresh
from tests.unit.service.jobs.slow_fetches import check_slow_fetches
from tests.unit.service.jobs.small_tenant import check_small_tenant

pytestmark = pytest.mark.postgres


async def transcribe(path, options, caller, on_length):
    await asyncio.sleep(0.01)
    if path.read_bytes() == b"for ever":
        await asyncio.Event().wait()
    return written(options=options)


def rows(url, *, with_backlog=False):
    with psycopg.connect(url) as connection:
        tables = connection.execute(
            "select schemaname || '.' || tablename from pg_tables"
            " where schemaname in ('public', 'mt3_dbos')"
        ).fetchall()
        about = {name for (name,) in tables} - {
            "public.mt3_schema", "mt3_dbos.dbos_migrations", "mt3_dbos.queues",
            "mt3_dbos.application_versions", "public.mt3_deployment",
            *([] if with_backlog else ["public.mt3_backlog"]),
        }  # fmt: skip
        return {n: connection.execute(f"select count(*) from {n}").fetchone()[0] for n in about}


async def test_a_job_from_its_submission_to_its_deletion(tmp_path, postgres_url):
    objects = open_in(tmp_path)
    async with queue_in(tmp_path, transcribe, url=postgres_url) as queue:
        new = await job_with_uploads(objects, 20, idempotency_key="k", body_hash="h")
        await queue.submit(new)
        job = await finished(queue, new)
        assert job.state is JobState.SUCCEEDED
        assert job.progress.items_succeeded == 20
        item = await queue.get_item("anna", new.job_id, 19)
        assert from_record(await objects.get(item.result_key)) == transcription()
        again = await job_with_uploads(objects, 1, idempotency_key="k", body_hash="h")
        assert not (await queue.submit(again)).is_new
        with pytest.raises(IdempotencyError):
            await queue.submit(new_job(idempotency_key="k", body_hash="i"))
        assert sum(rows(postgres_url).values()) > 60
        await queue.delete("anna", new.job_id)
        with pytest.raises(JobNotFoundError):
            await queue.get("anna", new.job_id)
    assert not any(rows(postgres_url).values()), rows(postgres_url)
    assert not [p for p in (tmp_path / "objects").rglob("*") if p.is_file()]


async def test_texts_that_the_database_cannot_hold_are_replaced_or_escaped(tmp_path, postgres_url):
    async def refuse(path, options, caller, on_length):
        raise AudioFormatError("a tag says \0 and \ud800")

    objects = open_in(tmp_path)
    async with queue_in(tmp_path, refuse, url=postgres_url) as queue:
        new = await job_with_uploads(objects, 1, metadata={"a\0": "\0"})
        assert (await queue.submit(new)).job.metadata == {"a\0": "\0"}
        job = await finished(queue, new)
        assert job.error.message == "a tag says \N{REPLACEMENT CHARACTER} and ?"
        assert job.metadata == {"a\0": "\0"}
        with pytest.raises(ValueError, match="JSON"):
            await queue.submit(new_job(metadata={"a": float("nan")}))
        assert len((await queue.list_jobs("anna")).jobs) == 1


async def test_jobs_are_read_again_together(tmp_path, postgres_url):
    async with queue_in(tmp_path, transcribe, url=postgres_url, grace_seconds=0.0) as queue:
        await check_refresh(tmp_path, queue)


async def test_slow_fetches_hold_up_neither_uploads_nor_others_fetches(tmp_path, postgres_url):
    await check_slow_fetches(tmp_path, postgres_url)


async def test_requests_with_one_key_at_once_make_one_job(tmp_path, postgres_url):
    async with queue_in(tmp_path, url=postgres_url) as queue:
        made = [new_job(3, idempotency_key="k", body_hash="h") for _ in range(8)]
        submissions = await asyncio.gather(*(queue.submit(new) for new in made))
        assert sum(s.is_new for s in submissions) == 1
        assert len({s.job.job_id for s in submissions}) == 1
        assert (await queue.backlog()).queued_items == 3


async def test_items_that_end_at_the_same_moment_end_their_job(tmp_path, postgres_url):
    objects = open_in(tmp_path)
    ready = asyncio.Barrier(6)

    async def together(path, options, caller, on_length):
        await ready.wait()
        return written(options=options)

    async with queue_in(tmp_path, together, url=postgres_url) as queue:
        for _ in range(5):
            new = await job_with_uploads(objects, 6)
            await queue.submit(new)
            assert (await finished(queue, new)).progress.items_succeeded == 6


async def test_cancel_interrupts_what_runs(tmp_path, postgres_url):
    objects = open_in(tmp_path)
    async with queue_in(tmp_path, transcribe, url=postgres_url) as queue:
        new = await job_with_uploads(objects, 12, content=b"for ever")
        await queue.submit(new)
        while (await queue.get("anna", new.job_id)).progress.items_processing < 6:  # noqa: ASYNC110 (another process, or the queue's threads)
            await asyncio.sleep(0.05)
        assert (await queue.cancel("anna", new.job_id)).progress.items_canceled == 12
        after = await job_with_uploads(objects, 12)
        await queue.submit(after)
        assert (await finished(queue, after)).state is JobState.SUCCEEDED


async def test_a_small_tenant_does_not_wait_for_ten_thousand_items(tmp_path, postgres_url, show):
    show(await check_small_tenant(tmp_path, postgres_url))


async def test_one_count_of_what_waits_serves_all_processes(tmp_path, postgres_url):
    now = [1_000.0]

    def opened():
        return queue_in(tmp_path, url=postgres_url, clock=lambda: now[0])

    async with opened() as first, opened() as second:
        await first.submit(new_job(3))
        now[0] += 10.0
        backlog = await first.backlog(max_age_seconds=2.0)
        assert (backlog.queued_items, backlog.oldest_queued_seconds) == (3, 10.0)
        await first.submit(new_job(4))
        now[0] += 1.5
        of_before = await second.backlog(max_age_seconds=2.0)
        assert (of_before.queued_items, of_before.oldest_queued_seconds) == (3, 11.5)
        assert (await second.backlog()).queued_items == 7
        now[0] += 0.6
        assert (await second.backlog(max_age_seconds=2.0)).queued_items == 7
        assert (await first.backlog(max_age_seconds=2.0)).queued_items == 7
        # A count of a process whose clock is ahead is ignored and replaced.
        now[0] -= 60.0
        await first.submit(new_job(1))
        assert (await first.backlog(max_age_seconds=2.0)).queued_items == 8


async def test_processes_that_count_for_the_first_time_at_once_agree(tmp_path, postgres_url):
    async with queue_in(tmp_path, url=postgres_url) as queue:
        await queue.submit(new_job(3))
        counts = await asyncio.gather(*(queue.backlog(max_age_seconds=2.0) for _ in range(8)))
        assert {backlog.queued_items for backlog in counts} == {3}
        assert rows(postgres_url, with_backlog=True)["public.mt3_backlog"] == 1
