"""Check that jobs are read again together; for the queue on each database."""

import asyncio

import sqlalchemy as sa

from service.errors import JobNotFoundError
from service.jobs.job import input_key
from tests.unit.service.jobs.jobs_at_hand import finished, job_with_uploads, open_in


async def check_refresh(tmp_path, queue):
    """Submit jobs with different outcomes, and compare `refresh` with `get`.

    Args:
        tmp_path: Folder of the storage.
        queue: At work; a recording ``for ever`` never ends.
    """
    objects = open_in(tmp_path)
    working, canceled, deleted = [await job_with_uploads(objects, 2, b"for ever") for _ in range(3)]
    await objects.put(input_key(working.job_id, 0), b"sound")
    done = await job_with_uploads(objects, 1)
    known = [(await queue.submit(new)).job for new in (working, canceled, deleted, done)]
    async with asyncio.timeout(400):
        while not (await queue.get("anna", working.job_id)).progress.items_succeeded:  # noqa: ASYNC110
            await asyncio.sleep(0.02)
    await finished(queue, done)
    await queue.cancel("anna", canceled.job_id)
    await queue.delete("anna", deleted.job_id)
    expected = await read_singly(queue, known)
    while (refreshed := list(await queue.refresh(known))) != expected:
        # Workers write in between, so only unchanged jobs can be compared.
        once_more = await read_singly(queue, known)
        assert once_more != expected
        expected = once_more
    assert [job is None for job in refreshed] == [job.job_id == deleted.job_id for job in known]
    there = [job for job in refreshed if job is not None]
    assert await statements(queue, there[:1]) == await statements(queue, there) > 0
    assert await queue.refresh(()) == ()


async def read_singly(queue, jobs):
    """Return each job as `get` reads it, None for a deleted one."""

    async def read(job_id):
        try:
            return await queue.get("anna", job_id)
        except JobNotFoundError:
            return None

    return [await read(job.job_id) for job in jobs]


async def statements(queue, jobs):
    """Return the number of statements that reading jobs again takes."""
    found = []

    def count(connection, cursor, statement, *rest):
        # Not those of the workers, at the same moment.
        found.append("mt3_job.job_id IN" in statement or "mt3_item.job_id IN" in statement)

    engine = queue._database.engine
    sa.event.listen(engine, "before_cursor_execute", count)
    try:
        assert list(await queue.refresh(jobs)) == list(jobs)
    finally:
        sa.event.remove(engine, "before_cursor_execute", count)
    return sum(found)
