"""Copied tasks equal those that DBOS itself writes."""

import asyncio
import logging
from pathlib import Path

import dbos
import pytest
import sqlalchemy as sa

from service.database.database import Database
from service.jobs.dbos_tasks import (
    INTERRUPTION_MESSAGES,
    ExecutorLimits,
    TaskQueue,
    is_not_interruption,
    start_executor,
    stop_executor,
)
from service.jobs.job import ItemRun, parse_item_run


@pytest.fixture
def database(tmp_path):
    database = Database(f"sqlite:///{tmp_path}/jobs.sqlite")
    yield database
    database.close()


def everything(connection, *, instead_of):
    """Return every row of every table that names a task, with the task's id replaced."""
    names = sa.inspect(connection).get_table_names()
    found = []
    for name in names:
        for row in connection.execute(sa.text(f"select * from {name}")).mappings():
            text = {k: str(v).replace(instead_of, "THE TASK") for k, v in row.items()}
            if "THE TASK" in "".join(text.values()):
                found.append((name, {k: v for k, v in text.items() if k not in VARIES}))
    return sorted(found, key=str)


VARIES = {"created_at", "updated_at", "retention_timestamp", "creator_xid"}


def test_a_copied_task_is_what_dbos_would_have_written(database):
    tasks = TaskQueue(database)
    first, placed, copied = (ItemRun(job_id="job_ab", number=n, run=0) for n in (0, 1, 2))
    with database.engine.begin() as connection:
        tasks.enqueue(connection, first, tenant="anna", source_kind="upload")
        tasks.enqueue(connection, placed, tenant="anna", source_kind="upload")
        tasks.enqueue_copies(connection, first, [copied])
    with database.engine.begin() as connection:
        as_placed = everything(connection, instead_of=placed.task_id)
        as_copied = everything(connection, instead_of=copied.task_id)
    assert as_placed == as_copied
    assert len(as_placed) == 2
    assert tasks.find_lost([first, placed, copied, ItemRun(job_id="job_ab", number=3, run=0)]) == [
        ItemRun(job_id="job_ab", number=3, run=0)
    ]
    tasks.cancel([copied])
    assert tasks.find_lost([first, copied]) == [copied]
    tasks.delete([first, placed, copied])
    with database.engine.begin() as connection:
        assert not everything(connection, instead_of="job_ab")
    tasks.close()


def test_a_task_id_names_the_run():
    item_run = ItemRun(job_id="job_0a", number=1_234_567, run=12)
    assert parse_item_run(item_run.task_id) == item_run


def record(message, error=None):
    exc_info = None if error is None else (type(error), error, None)
    return logging.LogRecord("dbos", logging.ERROR, "", 0, message, None, exc_info)


def test_the_log_of_interrupted_steps_is_filtered_and_nothing_else():
    assert not is_not_interruption(record("step failed", asyncio.CancelledError()))
    assert not is_not_interruption(record(f"Workflow 1 {INTERRUPTION_MESSAGES[0]}. Waiting"))
    assert is_not_interruption(record("step failed", ValueError("real")))
    assert is_not_interruption(record("the queue is slow"))


async def test_messages_of_dbos_reach_our_log_and_nothing_else(database, caplog, capfd):
    queue = TaskQueue(database)
    limits = ExecutorLimits(
        items=1, items_per_tenant=1, fetches=1, fetches_per_tenant=1, polling_seconds=1.0
    )

    async def run_item(item_run):
        raise AssertionError(item_run)

    loop = asyncio.get_running_loop()
    await asyncio.to_thread(
        start_executor, database, run_item, name="one", limits=limits, loop=loop
    )
    try:
        for number in range(3):
            logging.getLogger("dbos").warning("the database is away: attempt %s", number)
    finally:
        await asyncio.to_thread(stop_executor)
        queue.close()
    ours = [found for found in caplog.messages if "away" in found]
    assert ours == ["the database is away: attempt 0"]
    assert capfd.readouterr() == ("", "")


def test_this_dbos_still_writes_the_messages_that_are_filtered():
    source = "".join(path.read_text() for path in Path(dbos.__file__).parent.glob("*.py"))
    assert [message for message in INTERRUPTION_MESSAGES if message not in source] == []
