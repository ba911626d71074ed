"""The objects of a server are built from its settings."""

import asyncio

from service.assembly import open_jobs
from service.observability.metrics import Metrics
from service.settings import Settings


def test_only_its_user_may_enter_the_data_folder_that_a_server_creates(tmp_path):
    folder = tmp_path / "parent" / "data"
    jobs = open_jobs(Settings(data_dir=folder, backend="fake"), Metrics())
    asyncio.run(jobs.queue.close(grace_seconds=0.0))
    assert (folder / "jobs.sqlite3").exists()
    assert oct(folder.stat().st_mode & 0o777) == "0o700"
