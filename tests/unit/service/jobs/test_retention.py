"""Jobs are kept for their retention time after their end."""

import time

import pytest

from service.jobs.job import JobState, input_key
from service.jobs.running.sweeper import Sweeper
from tests.unit.service.jobs.jobs_at_hand import finished, job_with_uploads, open_in, queue_in
from tests.unit.service.jobs.queue_files import files, rows, transcribe

pytestmark = pytest.mark.slow


async def test_a_job_past_its_time_is_still_done_and_kept_from_its_end(tmp_path, show):
    objects = open_in(tmp_path)
    shift = [0.0]

    def clock():
        return time.time() + shift[0]

    async with queue_in(tmp_path, clock=clock) as queue:  # accepts jobs, runs none
        new = await job_with_uploads(objects, 3, retention_seconds=60.0)
        submitted = (await queue.submit(new)).job
        assert submitted.expires_at == pytest.approx(submitted.created_at + 60.0)
        shift[0] = 3_600.0
        assert (await queue.sweep()).jobs == 0
        assert len(files(tmp_path)) == 3
    async with queue_in(tmp_path, transcribe, clock=clock) as queue:
        job = await finished(queue, new)
        assert job.state is JobState.SUCCEEDED
        assert job.expires_at == pytest.approx(job.ended_at + 60.0)
        shift[0] += 50.0
        assert (await queue.sweep()).jobs == 0
        shift[0] += 11.0
        before = sum(rows(tmp_path).values())
        swept = await queue.sweep()
        assert (swept.jobs, swept.objects) == (1, 6)
        assert not files(tmp_path)
    left = rows(tmp_path)
    show(f"rows before: {before}, after: {sum(left.values())}; files: {len(files(tmp_path))}")
    assert not any(left.values())


async def test_a_job_that_is_retried_or_canceled_is_kept_from_its_last_end(tmp_path):
    objects = open_in(tmp_path)
    shift = [0.0]
    async with queue_in(
        tmp_path, transcribe, clock=lambda: time.time() + shift[0], retention_seconds=60.0
    ) as queue:
        failed = await job_with_uploads(objects, 1, content=b"noise")
        endless = await job_with_uploads(objects, 1, content=b"for ever")
        for new in (failed, endless):
            await queue.submit(new)
        await finished(queue, failed)
        shift[0] = 40.0
        await objects.put(input_key(failed.job_id, 0), b"sound")
        await queue.retry("anna", failed.job_id)
        again = await finished(queue, failed)
        assert again.state is JobState.SUCCEEDED
        canceled = await queue.cancel("anna", endless.job_id)
        for job in (again, canceled):
            assert job.expires_at == pytest.approx(job.ended_at + 60.0)
        shift[0] = 90.0
        assert (await queue.sweep()).jobs == 0
        shift[0] = 101.0
        assert (await queue.sweep()).jobs == 2


async def test_a_sweep_leaves_a_job_that_is_retried_while_it_goes_by(tmp_path, monkeypatch):
    objects = open_in(tmp_path)
    shift = [0.0]
    async with queue_in(
        tmp_path, transcribe, clock=lambda: time.time() + shift[0], retention_seconds=60.0
    ) as queue:
        new = await job_with_uploads(objects, 1, content=b"noise")
        await queue.submit(new)
        assert (await finished(queue, new)).state is JobState.FAILED
        await objects.put(input_key(new.job_id, 0), b"sound")
        shift[0] = 100.0
        hide = Sweeper.hide_expired

        async def retry_and_hide(sweeper, *arguments):
            await queue.retry("anna", new.job_id)
            return await hide(sweeper, *arguments)

        monkeypatch.setattr(Sweeper, "hide_expired", retry_and_hide)
        assert (await queue.sweep()).jobs == 0
        assert (await finished(queue, new)).state is JobState.SUCCEEDED


async def test_a_clock_that_was_set_back_shortens_no_promise(tmp_path):
    objects = open_in(tmp_path)
    shift = [0.0]
    async with queue_in(tmp_path, clock=lambda: time.time() + shift[0]) as queue:
        new = await job_with_uploads(objects, 1, retention_seconds=600.0)
        promised = (await queue.submit(new)).job.expires_at
        shift[0] = -300.0
        assert (await queue.cancel("anna", new.job_id)).expires_at == promised
