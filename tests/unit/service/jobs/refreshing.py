"""Jobs read again, all together: for the queue on each database."""

import asyncio

import sqlalchemy as sa

from service.errors import JobNotFoundError
from service.jobs.job import input_key
from tests.unit.service.jobs.jobs_at_hand import finished, job_with_uploads, open_in


async def check_refresh(tmp_path, queue):
    """Submits jobs that go different ways, and compares `refresh` with `get`.

    Args:
        tmp_path: Folder of the storage.
        queue: At work; a recording ``for ever`` never ends.
    """
    objects = open_in(tmp_path)
    working, canceled, deleted = [await job_with_uploads(objects, 2, b"for ever") for _ in range(3)]
    await objects.put(input_key(working.job_id, 0), b"sound")
    done = await job_with_uploads(objects, 1)
    known = [(await queue.submit(new)).job for new in (working, canceled, deleted, done)]
    async with asyncio.timeout(60):
        while not (await queue.get("anna", working.job_id)).progress.items_succeeded:  # noqa: ASYNC110
            await asyncio.sleep(0.02)
    await finished(queue, done)
    await queue.cancel("anna", canceled.job_id)
    await queue.delete("anna", deleted.job_id)
    refreshed = await queue.refresh(known)
    for before, after in zip(known, refreshed, strict=True):
        try:
            assert after == await queue.get("anna", before.job_id)
        except JobNotFoundError:
            assert (before.job_id, after) == (deleted.job_id, None)
    there = [job for job in refreshed if job is not None]
    assert await statements(queue, there[:1]) == await statements(queue, there) > 0
    assert await queue.refresh(()) == ()


async def statements(queue, jobs):
    """How many statements it takes to read jobs again."""
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
