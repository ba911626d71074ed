"""A server that keeps jobs, and helpers to read them."""

import asyncio
import contextlib
import json

from tests.integration.serving import recording, serving

URL = "/v1/jobs"


@contextlib.asynccontextmanager
async def job_server(tmp_path, **settings):
    """Yield the client of a server whose jobs are in ``tmp_path / "data"``."""
    uploads = tmp_path / "uploads"
    uploads.mkdir(exist_ok=True)
    async with serving(uploads, jobs=True, data_dir=tmp_path / "data", **settings) as client:
        yield client


def files(*names, seconds=0.5, content=None):
    """Return the parts of a form."""
    return [("file", (name, content or recording(seconds))) for name in names]


async def submit(client, *names, content=None, headers=None, **fields):
    answer = await client.post(
        URL, files=files(*names, content=content), data=fields, headers=headers or {}
    )
    assert answer.status_code == 202, answer.text
    return answer.json()


async def ended(client, job, *, seconds=400, **headers):
    """Wait for the end of a job; return it."""
    async with asyncio.timeout(seconds):
        while True:
            now = (await client.get(job["links"]["self"], headers=headers)).json()
            if now["status"] in ("succeeded", "failed", "canceled"):
                return now
            await asyncio.sleep(0.05)


def stored(tmp_path):
    """Return the objects of jobs, without partial ones and the storage's marker."""
    folder = tmp_path / "data" / "objects"
    return sorted(
        path.relative_to(folder).as_posix()
        for path in folder.rglob("*")
        if path.is_file() and path.parts[len(folder.parts)] == "jobs"
    )


def read_events(text):
    """Return the events of a stream: (name, id, data)."""
    found = []
    for block in text.split("\n\n"):
        lines = dict(line.split(": ", 1) for line in block.splitlines() if ": " in line)
        if "event" in lines:
            found.append((lines["event"], lines["id"], json.loads(lines["data"])))
    return found
