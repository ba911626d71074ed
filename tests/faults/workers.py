"""Worker processes to be killed, and their logs."""

import collections
import contextlib
import os
import signal
import subprocess
import sys
from pathlib import Path

from mt3_model.export.record import from_record
from tests.repository.tracked_files import ROOT
from tests.unit.service.jobs.jobs_at_hand import open_in, transcription

LONG = float(os.environ.get("MT3_FAULT_TESTS_SCALE", "1"))
"""Factor of the numbers of items and kills; with 1 a test takes half a minute."""


class WorkerProcess:
    """A worker process, started at once."""

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
        """Return the log so far."""
        return Path(self._log.name).read_text()

    def kill(self):
        with contextlib.suppress(ProcessLookupError):
            self._process.send_signal(signal.SIGKILL)
        self._process.wait()
        self._log.close()

    def stop(self):
        """Stop it with SIGTERM, so that running items end first; return its exit status."""
        self._process.terminate()
        code = self._process.wait(timeout=400)
        self._log.close()
        return code


@contextlib.contextmanager
def workers(url, folder, count=1):
    """Several workers, which are killed at the end in any case."""
    started = [WorkerProcess(url, folder, f"worker{n}") for n in range(count)]
    try:
        yield started
    finally:
        for worker in started:
            worker.kill()


def lines(folder, name):
    """Return the lines of a log as lists of words."""
    path = folder / f"{name}.log"
    return [line.split() for line in path.read_text().splitlines()] if path.exists() else []


def stored(folder):
    """Return the keys of the stored results; a worker may die between a result and its log line."""
    objects = folder / "objects"
    return {
        path.relative_to(objects).as_posix()
        for path in objects.glob("jobs/*/results/*")
        if path.name.isdigit()  # without partial files
    }


def redone(folder):
    """Return the items whose result was stored more than once."""
    times = collections.Counter(words[0] for words in lines(folder, "stored"))
    return sum(count - 1 for count in times.values() if count > 1)


async def whole_results(folder, job_id):
    """Return the number of results, after reading and checking each."""
    objects = open_in(folder)
    count = 0
    async for found in objects.list_prefix(f"jobs/{job_id}/results"):
        assert from_record(await objects.get(found.key)) == transcription()
        count += 1
    return count
