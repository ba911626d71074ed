"""A damaged, foreign or deleted database: named at the start, and a 503 later."""

import contextlib
import os
import sqlite3

import pytest
import sqlalchemy as sa

from service.database.database import Database
from service.errors import DatabaseInUseError, JobError, JobsUnavailableError
from service.jobs.store.job_database import open_job_database
from service.jobs.store.tables import prepare_tables
from tests.unit.service.jobs.jobs_at_hand import change, new_job, queue_in

pytestmark = pytest.mark.slow


@pytest.fixture
def used(tmp_path):
    """Return the path of a database of many pages that was closed properly."""
    database = Database(f"sqlite:///{tmp_path}/jobs.sqlite")
    database.create_tables(prepare_tables)
    with database.engine.begin() as connection:
        connection.execute(sa.text("create table filler (id integer primary key, text text)"))
        for _ in range(100):
            connection.execute(sa.text("insert into filler (text) values (:t)"), {"t": "x" * 3_000})
    with database.engine.connect() as connection:
        connection.exec_driver_sql("pragma wal_checkpoint(truncate)")
    database.close()
    return tmp_path / "jobs.sqlite"


def overwrite(path, offset, content):
    with path.open("r+b") as file:
        file.seek(offset)
        file.write(content)


def become_folder(path):
    path.unlink()
    path.mkdir()


def become_text(path):
    path.write_text("dear diary")


def other_tables(path):
    path.unlink()
    with contextlib.closing(sqlite3.connect(path)) as database:
        database.execute("create table mt3_schema (version integer not null)")
        database.execute("insert into mt3_schema values (2)")
        database.execute("create table mt3_job (job_id text)")
        database.commit()


def later_version(path):
    with contextlib.closing(sqlite3.connect(path)) as database:
        database.execute("update mt3_schema set version = 99")
        database.commit()


DAMAGES = {
    "header": (lambda path: overwrite(path, 0, b"\0" * 16), "header is damaged"),
    "first page": (lambda path: overwrite(path, 100, b"\xff" * 900), "damaged"),
    "a page in the middle": (lambda path: overwrite(path, 40 * 4096, b"\xff" * 4096), "damaged"),
    "cut off": (lambda path: os.truncate(path, 20 * 4096), "damaged"),
    "cut off in the header": (lambda path: os.truncate(path, 50), "damaged"),
    "a folder": (become_folder, "is a folder"),
    "a text": (become_text, "not a SQLite database"),
    "a folder as its log": (
        lambda path: path.with_name(path.name + "-wal").mkdir(),
        "cannot be opened",
    ),
    "other tables": (other_tables, "lacks"),
    "a later version": (later_version, "later version"),
}


TABLES = {"other tables", "a later version"}
"""Sound files, which are put into another journal mode before their tables are read."""


def open_and_close(path):
    database = Database(f"sqlite:///{path}")
    try:
        database.create_tables(prepare_tables)
    finally:
        database.close()


@pytest.mark.parametrize("damage", DAMAGES)
def test_what_cannot_be_used_is_refused_at_once_by_name(used, damage):
    harm, said = DAMAGES[damage]
    harm(used)
    before = used.read_bytes() if used.is_file() else b""
    with pytest.raises(JobError, match=said) as raised:
        open_and_close(used)
    assert not isinstance(raised.value, JobsUnavailableError)
    assert str(used) in str(raised.value)
    assert "\n" not in str(raised.value)
    if damage not in TABLES:
        assert not used.is_file() or used.read_bytes() == before, "as it was found"


def test_an_empty_file_and_a_log_of_nonsense_are_no_damage(used):
    used.with_name(used.name + "-wal").write_bytes(b"nonsense" * 1_000)
    Database(f"sqlite:///{used}").close()
    empty = used.with_name("empty.sqlite")
    empty.touch()
    open_and_close(empty)


def test_a_folder_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(JobError, match=r"file/jobs\.sqlite cannot be opened: .* is a file"):
        Database(f"sqlite:///{tmp_path}/file/jobs.sqlite")


async def submission_refused(queue):
    with pytest.raises(JobsUnavailableError, match="damaged") as raised:
        await queue.submit(new_job())
    assert raised.value.retry_after_seconds > 60
    with pytest.raises(JobsUnavailableError, match="damaged"):
        await queue.list_jobs("anna")
    return queue.faults["database"]


async def test_a_file_deleted_under_a_server_is_not_begun_anew(tmp_path):
    async with queue_in(tmp_path) as queue:
        await queue.submit(new_job())
        (tmp_path / "jobs.sqlite").unlink()
        assert "was deleted, moved or replaced" in await submission_refused(queue)
        assert not (tmp_path / "jobs.sqlite").exists()


async def test_a_file_replaced_under_a_server_is_not_written_to(tmp_path):
    async with queue_in(tmp_path) as queue:
        await queue.submit(new_job())
        (tmp_path / "jobs.sqlite").rename(tmp_path / "moved.sqlite")
        (tmp_path / "jobs.sqlite").write_bytes(b"")
        assert "was deleted, moved or replaced" in await submission_refused(queue)
        assert (tmp_path / "jobs.sqlite").read_bytes() == b""


async def test_tables_dropped_under_a_server_are_damage(tmp_path):
    async with queue_in(tmp_path) as queue:
        change(tmp_path, "drop table mt3_item", "drop table mt3_job")
        assert "no such table" in await submission_refused(queue)


async def test_pages_overwritten_under_a_server_are_damage(tmp_path):
    async with queue_in(tmp_path) as queue:
        await queue.submit(new_job())
        change(tmp_path, "pragma wal_checkpoint(truncate)")
        size = (tmp_path / "jobs.sqlite").stat().st_size
        overwrite(tmp_path / "jobs.sqlite", 4096, b"\xff" * (size - 4096))
        queue._database.engine.dispose()  # and so forget the pages that were read before
        assert await submission_refused(queue) in (
            "database disk image is malformed",
            "file is not a database",
        )


def test_one_file_is_held_once_by_whatever_name_and_without_its_lock_file(tmp_path):
    first = Database(f"sqlite:///{tmp_path}/jobs.sqlite")
    (tmp_path / "link.sqlite").symlink_to("jobs.sqlite")
    (tmp_path / "folder").symlink_to(".")
    (tmp_path / "hard.sqlite").hardlink_to(tmp_path / "jobs.sqlite")
    try:
        for name in ("link.sqlite", "folder/jobs.sqlite", "hard.sqlite"):
            with pytest.raises(DatabaseInUseError, match=r"in use by process"):
                Database(f"sqlite:///{tmp_path}/{name}")
        (tmp_path / "jobs.sqlite.lock").unlink()
        for name in ("jobs.sqlite", "link.sqlite"):
            with pytest.raises(DatabaseInUseError):
                Database(f"sqlite:///{tmp_path}/{name}")
    finally:
        first.close()
    Database(f"sqlite:///{tmp_path}/link.sqlite").close()


@pytest.mark.postgres
@pytest.mark.parametrize(
    ("part", "other", "said"),
    [
        ("/jobs_", "/gone_", "database .* does not exist"),
        ("mt3@", "nobody@", "role .* does not exist"),
    ],
)
async def test_a_postgres_that_refuses_is_not_waited_for(postgres_url, part, other, said):
    with pytest.raises(JobError, match=said) as raised:
        open_job_database(postgres_url.replace(part, other), wait_seconds=3_600.0)
    assert not isinstance(raised.value, JobsUnavailableError)


@pytest.mark.postgres
async def test_tables_dropped_from_postgres_are_damage(tmp_path, postgres_url):
    async with queue_in(tmp_path, url=postgres_url) as queue:
        with queue._database.engine.begin() as connection:
            connection.execute(sa.text("drop table mt3_item, mt3_webhook, mt3_job"))
        assert "does not exist" in await submission_refused(queue)
