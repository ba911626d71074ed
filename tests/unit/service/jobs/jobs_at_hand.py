"""Builders: a queue on SQLite in a folder, a job, and a transcription that needs no model."""

import contextlib
import dataclasses
import sqlite3
import time

from mt3_model.export.record import to_record
from mt3_model.notes.note import Note, NoteSequence
from mt3_model.notes.transcription import (
    ModelProvenance,
    Transcription,
    TranscriptionOptions,
    TranscriptionWarning,
    Usage,
)
from service.item_processing import ItemProcessor
from service.jobs.job import ItemSource, NewItem, NewJob, input_key, new_job_id
from service.jobs.running.job_queue import JobQueue, QueueOptions
from service.jobs.running.job_worker import WorkerOptions
from service.jobs.store.job_database import open_job_database
from service.recordings.work import Written
from service.storage.objects import open_objects
from tests.waiting import until

QUICK = WorkerOptions(
    concurrency=8, polling_seconds=0.02, most_tries=3, retry_delays_seconds=(0.05, 0.1),
    watch_seconds=0.5,
)  # fmt: skip


def transcription(seconds=2.0, options=None):
    return Transcription(
        notes=NoteSequence(
            notes=(
                Note(pitch=60, start_time=0.1 + 0.2, end_time=1 / 3, velocity=100, confidence=0.7),
                Note(pitch=36, start_time=0.5, end_time=0.51, velocity=127, is_drum=True),
            ),
            total_time=0.51,
        ),
        model=ModelProvenance(
            name="mt3", checkpoint_sha256="fake", code_version="0", precision="float32"
        ),
        options=options or TranscriptionOptions(),
        duration_seconds=seconds,
        warnings=(TranscriptionWarning(code="truncated_audio", message="cut off", start=1.5),),
        usage=Usage(audio_seconds=seconds, segments=1, tokens=9, queue_seconds=0.25),
        invalid_events=1,
        dropped_events=0,
    )


def written(seconds=2.0, options=None):
    """Return the record of a transcription, as an item's handler gets it."""
    done = transcription(seconds, options)
    return Written(
        content=to_record(done),
        notes=len(done.notes.notes),
        usage=done.usage,
        warnings=done.warnings,
        write_seconds=0.0,
    )


def change(folder, *statements):
    """Change a queue's database directly; return the number of rows that the last statement
    changed."""
    with contextlib.closing(sqlite3.connect(folder / "jobs.sqlite")) as database:
        for statement in statements:
            changed = database.execute(statement).rowcount
        database.commit()
        return changed


def open_in(folder):
    return open_objects(f"file://{folder}/objects")


def new_job(count=1, *, tenant="anna", reference="uploads/none", **rest):
    return NewJob(
        job_id=rest.pop("job_id", None) or new_job_id(),
        tenant=tenant,
        items=tuple(
            NewItem(source=ItemSource(kind="upload", reference=reference), name=f"{n}.wav")
            for n in range(count)
        ),
        options=TranscriptionOptions(),
        **rest,
    )


async def job_with_uploads(objects, count, content=b"sound", **rest):
    """Return a new job whose recordings are in the storage."""
    job_id = new_job_id()
    for number in range(count):
        await objects.put(input_key(job_id, number), content)
    return NewJob(
        job_id=job_id,
        tenant=rest.pop("tenant", "anna"),
        items=tuple(
            NewItem(
                source=ItemSource(kind="upload", reference=input_key(job_id, n)), name=f"{n}.wav"
            )
            for n in range(count)
        ),
        options=TranscriptionOptions(),
        **rest,
    )


@contextlib.asynccontextmanager
async def queue_in(folder, transcribe=None, *, url=None, worker=QUICK, grace_seconds=5.0, **rest):
    """Run a queue in a folder; without ``transcribe`` it only submits and reads."""
    objects = rest.pop("objects", None) or open_in(folder)
    clock = rest.pop("clock", time.time)
    binding = rest.pop("binding", None)
    jobs = open_job_database(url or f"sqlite:///{folder}/jobs.sqlite", binding=binding)
    if watch := rest.pop("watch", None):
        jobs = dataclasses.replace(jobs, database=watch(jobs.database))
    queue = JobQueue(
        jobs, objects, worker=worker,
        options=QueueOptions(**rest), clock=clock,
    )  # fmt: skip
    handler = None
    if transcribe is not None:
        handler = ItemProcessor(objects, transcribe, folder=folder).process
    await queue.start(handler)
    try:
        yield queue
    finally:
        await queue.close(grace_seconds=grace_seconds)


async def finished(queue, job):
    """Wait for the end of a job; return it."""

    async def find():
        now = await queue.get(job.tenant, job.job_id)
        return now if now.state.is_final else None

    return await until(find, f"the end of job {job.job_id}")
