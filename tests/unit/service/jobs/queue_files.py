"""A transcription function controlled by the upload, and counts of a queue's rows and files."""

import asyncio
import contextlib
import sqlite3

from mt3_model.errors import AudioFormatError
from service.errors import EngineError
from tests.unit.service.jobs.jobs_at_hand import written


async def transcribe(path, options, caller, on_length):
    """Succeed, fail, or succeed later, depending on the recording's content."""
    content = path.read_bytes()
    await asyncio.sleep(0.01)
    if content == b"noise":
        raise AudioFormatError("this is not audio")
    if content == b"broken device":
        raise EngineError("the device failed", retry_after_seconds=1)
    if content == b"fault of ours":
        raise ZeroDivisionError
    if content == b"for ever":
        await asyncio.Event().wait()
    return written(options=options)


def rows(folder):
    """Return the number of rows by table, of all tables about jobs."""
    with contextlib.closing(sqlite3.connect(folder / "jobs.sqlite")) as database:
        names = [
            n for (n,) in database.execute("select name from sqlite_master where type='table'")
        ]
        about = [n for n in names if n not in {"dbos_migrations", "mt3_schema", "queues"}]
        about = [n for n in about if n != "mt3_deployment"]
        about = [n for n in about if n != "application_versions"]
        return {n: database.execute(f"select count(*) from {n}").fetchone()[0] for n in about}


def files(folder):
    return sorted(
        str(p.relative_to(folder)) for p in (folder / "objects").rglob("*") if p.is_file()
    )
