"""Run `mt3 bulk` in its own process, which a test can watch and kill with all descendants."""

import collections
import contextlib
import json
import os
import pathlib
import signal
import subprocess
import sys
import time

from tests.bulk.recordings import files
from tests.repository.tracked_files import ROOT


class Driver:
    """A running `mt3 bulk` in its own process group, with a fake device."""

    def __init__(
        self, inputs, outputs, *options, iteration_seconds=0.0, module="service.cli", variables=()
    ):
        self._folder = outputs.parent
        self._counts = self._folder / "counts.json"
        self._log = (self._folder / "driver.log").open("w+")
        self._process = subprocess.Popen(
            [
                sys.executable, "-m", module, "bulk", str(inputs), str(outputs), "--actors", "2",
                "--object-store-bytes", "100000000", "--json", str(self._counts), *options,
            ],
            cwd=ROOT, stdout=self._log, stderr=self._log, start_new_session=True,
            env=os.environ | {
                "MT3_BACKEND": "fake", "MT3_SLOTS": "4",
                "MT3_FAKE_ITERATION_SECONDS": str(iteration_seconds),
                # Ray's workers are nice (15): beside busy programs they would hardly run.
                "RAY_worker_niceness": "0",
            } | dict(variables),
        )  # fmt: skip

    def wait(self):
        """Wait for the end; return the exit code and the counts it wrote."""
        code = self._process.wait(timeout=900)
        assert self._counts.exists(), self.log()
        counts = json.loads(self._counts.read_text())
        self._counts.unlink()
        print(f"exit code {code}: {counts}")
        return code, counts

    def log(self):
        self._log.flush()
        return pathlib.Path(self._log.name).read_text()

    def wait_for(self, outputs, count, suffix=".mid"):
        """Wait until ``count`` results exist."""
        deadline = time.monotonic() + 900
        while len([name for name in files(outputs) if name.endswith(suffix)]) < count:
            assert self._process.poll() is None, self.log()
            assert time.monotonic() < deadline, self.log()
            time.sleep(0.02)

    def kill(self):
        """Send SIGKILL to its group and to all Ray processes below it, like a power failure."""
        below = descendants(self._process.pid)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        for pid in below:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def close(self):
        if self._process.poll() is None:
            self.kill()
        self._log.close()


@contextlib.contextmanager
def driving(*arguments, **options):
    """Start a driver, and kill it at the end."""
    driver = Driver(*arguments, **options)
    try:
        yield driver
    finally:
        driver.close()


def descendants(ancestor):
    """Return all processes below one, from ``/proc``."""
    children = collections.defaultdict(list)
    for stat in pathlib.Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            # The name, in parentheses, may contain any character.
            children[int(stat.read_text().rpartition(")")[2].split()[1])].append(
                int(stat.parent.name)
            )
    found = [*children[ancestor]]
    for pid in found:
        found += children[pid]
    return found
