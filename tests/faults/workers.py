"""Worker processes, to be killed, and what they have written down."""

import asyncio
import collections
import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from mt3_model.export.record import from_record
from tests.repository.tracked_files import ROOT
from tests.unit.service.jobs.jobs_at_hand import open_in, transcription

LONG = float(os.environ.get("MT3_FAULT_TESTS_SCALE", "1"))
"""Multiplies the numbers of items and kills: 1 takes half a minute a test."""


class WorkerProcess:
    """One, started at once."""

    def __init__(self, url, folder, name="worker"):
        self.name = name
        self._log = (folder / f"{name}.err").open("ab")
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.faults.worker_program", url, str(folder), name],
            cwd=ROOT, stdout=self._log, stderr=self._log,
        )  # fmt: skip

    @property
    def is_alive(self):
        return self._process.poll() is None

    @property
    def log(self):
        """The log so far."""
        return Path(self._log.name).read_text()

    def kill(self):
        with contextlib.suppress(ProcessLookupError):
            self._process.send_signal(signal.SIGKILL)
        self._process.wait()
        self._log.close()

    def stop(self):
        """In order: what it has begun ends first. Gives its exit status."""
        self._process.terminate()
        code = self._process.wait(timeout=120)
        self._log.close()
        return code


@contextlib.contextmanager
def workers(url, folder, count=1):
    """Several, killed at the end whatever happens."""
    started = [WorkerProcess(url, folder, f"worker{n}") for n in range(count)]
    try:
        yield started
    finally:
        for worker in started:
            worker.kill()


def lines(folder, name):
    """The lines of a log as lists of words."""
    path = folder / f"{name}.log"
    return [line.split() for line in path.read_text().splitlines()] if path.exists() else []


def stored(folder):
    """Keys of the results that are there: one may be killed between a result and its line."""
    objects = folder / "objects"
    return {
        path.relative_to(objects).as_posix()
        for path in objects.glob("jobs/*/results/*")
        if path.name.isdigit()  # whole: not what is being written
    }


def redone(folder):
    """Items whose result was stored more than once."""
    times = collections.Counter(words[0] for words in lines(folder, "stored"))
    return sum(count - 1 for count in times.values() if count > 1)


async def whole_results(folder, job_id):
    """How many results there are, each read and compared."""
    objects = open_in(folder)
    count = 0
    async for found in objects.list_prefix(f"jobs/{job_id}/results"):
        assert from_record(await objects.get(found.key)) == transcription()
        count += 1
    return count


async def until(condition, seconds, what):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"{what}: not within {seconds} s"
        await asyncio.sleep(0.02)
