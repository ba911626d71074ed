"""Tables of an earlier version are migrated with all their rows, or left unchanged."""

import contextlib
import sqlite3
import time

import pytest
import sqlalchemy as sa

from service.database.database import Database
from service.errors import JobError
from service.jobs.job import JobState
from service.jobs.store import tables
from service.jobs.store.migrations import MIGRATIONS
from tests.unit.service.jobs.jobs_at_hand import (
    change,
    finished,
    job_with_uploads,
    open_in,
    queue_in,
)
from tests.unit.service.jobs.queue_files import transcribe

pytestmark = pytest.mark.slow


# The tables of commit 7e58ec6, the last of version 1.
VERSION_1 = """
CREATE TABLE mt3_job (
    job_id TEXT NOT NULL, tenant TEXT NOT NULL, idempotency_key TEXT, body_hash TEXT,
    state TEXT NOT NULL, created_at FLOAT NOT NULL, started_at FLOAT, ended_at FLOAT,
    expires_at FLOAT NOT NULL, deleted_at FLOAT, options TEXT NOT NULL, response_format TEXT,
    metadata TEXT NOT NULL, final_counts TEXT,
    PRIMARY KEY (job_id), UNIQUE (tenant, idempotency_key)
);
CREATE INDEX mt3_job_by_expiry ON mt3_job (expires_at);
CREATE INDEX mt3_job_by_state ON mt3_job (state, created_at);
CREATE INDEX mt3_job_of_tenant ON mt3_job (tenant, created_at, job_id);
CREATE TABLE mt3_item (
    job_id TEXT NOT NULL, number INTEGER NOT NULL, state TEXT NOT NULL,
    source_kind TEXT NOT NULL, source_reference TEXT NOT NULL, name TEXT, audio_seconds FLOAT,
    run INTEGER NOT NULL, attempts INTEGER NOT NULL, failed_tries INTEGER NOT NULL,
    open_starts INTEGER NOT NULL, is_quarantined BOOLEAN NOT NULL, started_at FLOAT,
    ended_at FLOAT, error_code TEXT, error_message TEXT, warnings TEXT,
    PRIMARY KEY (job_id, number), FOREIGN KEY(job_id) REFERENCES mt3_job (job_id)
);
CREATE INDEX mt3_item_by_state ON mt3_item (job_id, state, audio_seconds);
UPDATE mt3_schema SET version = 1;
"""


def make_version_1(folder):
    """Create the tables of version 1, with the rows of the current ones."""
    with contextlib.closing(sqlite3.connect(folder / "jobs.sqlite")) as database:
        database.row_factory = sqlite3.Row
        held = {
            name: [dict(row) for row in database.execute(f"select * from {name}")]
            for name in ("mt3_job", "mt3_item")
        }
        for name in ("mt3_item", "mt3_job"):
            database.execute(f"drop table {name}")
        database.executescript(VERSION_1)
        for name, found in held.items():
            columns = [row["name"] for row in database.execute(f"pragma table_info({name})")]
            database.executemany(
                f"insert into {name} values ({', '.join(f':{c}' for c in columns)})", found
            )
        database.commit()


def shape(folder):
    """Return the columns and indexes of each table, and the version."""
    with contextlib.closing(sa.create_engine(f"sqlite:///{folder}/jobs.sqlite").connect()) as c:
        inspector = sa.inspect(c)
        found = {
            name: (
                {(str(col["name"]), str(col["type"])) for col in inspector.get_columns(name)},
                {(i["name"], tuple(i["column_names"])) for i in inspector.get_indexes(name)},
            )
            for name in ("mt3_job", "mt3_item")
        }
        return found, c.scalar(sa.text("select version from mt3_schema"))


async def test_a_job_that_waited_in_version_1_is_done_after_the_migration(tmp_path):
    objects = open_in(tmp_path)
    async with queue_in(tmp_path) as queue:
        new = await job_with_uploads(objects, 3, retention_seconds=600.0)
        submitted = (await queue.submit(new)).job
    as_made = shape(tmp_path)
    make_version_1(tmp_path)
    assert shape(tmp_path) != as_made
    async with queue_in(tmp_path, clock=lambda: submitted.created_at + 50.0) as queue:
        assert shape(tmp_path) == as_made
        assert (await queue.get("anna", new.job_id)) == submitted
        assert (await queue.backlog()).oldest_queued_seconds == pytest.approx(50.0)
    async with queue_in(tmp_path, transcribe) as queue:
        job = await finished(queue, new)
        assert job.state is JobState.SUCCEEDED
        assert job.progress.items_succeeded == 3
        assert job.expires_at == pytest.approx(job.ended_at + 600.0)


async def test_what_was_retried_in_version_1_waits_from_the_migration(tmp_path):
    async with queue_in(tmp_path) as queue:
        new = await job_with_uploads(open_in(tmp_path), 1)
        await queue.submit(new)
    make_version_1(tmp_path)
    change(
        tmp_path,
        "update mt3_item set run = 2",
        "update mt3_job set created_at = created_at - 500000",
    )
    async with queue_in(tmp_path, clock=lambda: time.time() + 3.0) as queue:
        assert 0.0 <= (await queue.backlog()).oldest_queued_seconds < 60.0


async def test_rows_that_a_process_of_version_1_still_writes_do_no_harm(tmp_path):
    objects = open_in(tmp_path)
    async with queue_in(tmp_path) as queue:
        new = await job_with_uploads(objects, 1, retention_seconds=600.0)
        promised = (await queue.submit(new)).job.expires_at
    change(
        tmp_path,
        "update mt3_item set ready_at = null",
        "update mt3_job set retention_seconds = null",
    )
    async with queue_in(tmp_path, transcribe) as queue:
        assert (await queue.backlog()).oldest_queued_seconds == 0.0
        assert (await finished(queue, new)).expires_at == promised


async def test_a_migration_that_ends_half_way_leaves_what_was_there(tmp_path, monkeypatch):
    async with queue_in(tmp_path):
        pass
    make_version_1(tmp_path)
    before = shape(tmp_path)

    def break_off(connection, now):
        MIGRATIONS[1](connection, now)
        raise KeyboardInterrupt

    steps = {1: break_off}
    database = Database(f"sqlite:///{tmp_path}/jobs.sqlite")
    create_tables = tables.create_tables
    monkeypatch.setattr(tables, "create_tables", lambda c, now: create_tables(c, now, steps))
    with pytest.raises(KeyboardInterrupt):
        database.create_tables(tables.prepare_tables)
    monkeypatch.undo()
    database.close()
    assert shape(tmp_path) == before
    async with queue_in(tmp_path):
        assert shape(tmp_path)[1] == tables.SCHEMA_VERSION


@pytest.mark.parametrize("version", [0, 99])
async def test_tables_that_no_migration_fits_are_refused_and_left_alone(tmp_path, version):
    async with queue_in(tmp_path):
        pass
    make_version_1(tmp_path)
    change(tmp_path, f"update mt3_schema set version = {version}")
    before = shape(tmp_path)
    with pytest.raises(JobError, match=f"version {version}"):
        async with queue_in(tmp_path):
            pass
    assert shape(tmp_path) == before


def test_there_is_a_step_from_every_version_to_the_next():
    assert list(MIGRATIONS) == list(range(1, tables.SCHEMA_VERSION))
