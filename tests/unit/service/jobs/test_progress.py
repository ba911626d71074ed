"""The audio seconds of a job are known once its recordings are open, and at its end in any case."""

import asyncio
from pathlib import Path

import pytest

from mt3_model.errors import AudioFormatError
from mt3_model.export.record import from_record
from mt3_model.notes.transcription import TranscriptionOptions
from service.auth.caller import CallerLimits
from service.item_processing import JOBS_CALLER, transcribe_when_healthy
from service.jobs.job import ItemRun, JobState, input_key
from service.jobs.store import item_store
from tests.unit.service.jobs.jobs_at_hand import (
    finished,
    job_with_uploads,
    open_in,
    queue_in,
    transcription,
    written,
)
from tests.unit.service.jobs.queue_files import transcribe
from tests.waiting import until

pytestmark = pytest.mark.slow


async def test_a_bad_recording_leaves_the_audio_of_the_others_known(tmp_path):
    objects = open_in(tmp_path)
    async with queue_in(tmp_path, transcribe) as queue:
        new = await job_with_uploads(objects, 3)
        await objects.put(input_key(new.job_id, 1), b"noise")
        submitted = await queue.submit(new)
        assert submitted.job.progress.audio_seconds_total is None
        progress = (await finished(queue, new)).progress
        assert (progress.items_succeeded, progress.items_failed) == (2, 1)
        assert progress.audio_seconds_total == progress.audio_seconds_done == 4.0
        # The length is unknown again: the retried item may have any length.
        await objects.put(input_key(new.job_id, 1), b"sound")
        assert (await queue.retry("anna", new.job_id)).progress.audio_seconds_total is None
        assert (await finished(queue, new)).progress.audio_seconds_total == 6.0


async def test_what_was_canceled_unopened_counts_as_no_audio(tmp_path):
    async with queue_in(tmp_path) as queue:
        new = await job_with_uploads(open_in(tmp_path), 2)
        await queue.submit(new)
        assert (await queue.cancel("anna", new.job_id)).progress.audio_seconds_total == 0.0


async def test_lengths_are_known_once_the_recordings_are_open(tmp_path):
    objects = open_in(tmp_path)
    may_end = asyncio.Event()

    async def open_and_wait(path, options, caller, on_length):
        await on_length(9.0 if path.read_bytes() == b"long" else 2.5)
        await may_end.wait()
        if path.read_bytes() == b"long":
            raise AudioFormatError("broken in its middle")
        return written(2.0, options)

    async with queue_in(tmp_path, open_and_wait) as queue:
        new = await job_with_uploads(objects, 2)
        await objects.put(input_key(new.job_id, 1), b"long")
        await queue.submit(new)

        async def all_is_known():
            return (await queue.get("anna", new.job_id)).progress.audio_seconds_total is not None

        await until(all_is_known)
        job = await queue.get("anna", new.job_id)
        assert (job.state, job.progress.audio_seconds_total) == (JobState.PROCESSING, 11.5)
        assert (await queue.get_item("anna", new.job_id, 1)).audio_seconds == 9.0
        may_end.set()
        progress = (await finished(queue, new)).progress
        # The length that was read counts, not the declared one.
        assert (progress.audio_seconds_done, progress.audio_seconds_total) == (2.0, 11.0)


async def test_a_worker_thought_dead_notes_no_length(tmp_path):
    async with queue_in(tmp_path) as queue:
        new = await job_with_uploads(open_in(tmp_path), 1)
        await queue.submit(new)
        valid = ItemRun(job_id=new.job_id, number=0, run=0)
        for order, is_begun in (
            (valid, False),
            (ItemRun(job_id=new.job_id, number=0, run=1), True),
        ):
            if is_begun:
                await queue._database.run(lambda c: item_store.begin(c, valid, queue._tasks, 1.0))
            assert not await queue._database.run(
                lambda c, order=order: item_store.set_length(c, order, 5.0)
            )
        assert (await queue.get_item("anna", new.job_id, 0)).audio_seconds is None


async def test_the_engines_side_tells_the_length_before_it_works():
    reported = []

    class Telling:
        async def write(self, path, options, caller, *, write, on_length):
            assert (path.name, caller.name) == ("song", JOBS_CALLER.name)
            await on_length(7.0)
            reported.append("works")
            return write(transcription(7.0, options))

    async def note(audio_seconds):
        reported.append(audio_seconds)

    limits = {"anna": CallerLimits()}
    work = transcribe_when_healthy(Telling(), lambda: True, limits.__getitem__)
    done = await work(Path("song"), TranscriptionOptions(), "anna", note)
    assert (from_record(done).duration_seconds, reported) == (7.0, [7.0, "works"])
