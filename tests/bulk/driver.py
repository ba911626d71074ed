"""`mt3 bulk` as a process of its own, to be watched and killed, with all its descendants."""

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
    """One, started at once, in a process group of its own; the device is a fake one."""

    def __init__(
        self, inputs, outputs, *options, visit_seconds=0.0, module="service.cli", variables=()
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
                "MT3_FAKE_VISIT_SECONDS": str(visit_seconds),
            } | dict(variables),
        )  # fmt: skip

    def wait(self):
        """Its exit code, and the counts it wrote."""
        code = self._process.wait(timeout=240)
        assert self._counts.exists(), self.log()
        counts = json.loads(self._counts.read_text())
        self._counts.unlink()
        print(f"exit code {code}: {counts}")
        return code, counts

    def log(self):
        self._log.flush()
        return pathlib.Path(self._log.name).read_text()

    def wait_for(self, outputs, count, suffix=".mid"):
        """Until so many results are there."""
        deadline = time.monotonic() + 120
        while len([name for name in files(outputs) if name.endswith(suffix)]) < count:
            assert self._process.poll() is None, self.log()
            assert time.monotonic() < deadline, self.log()
            time.sleep(0.02)

    def kill(self):
        """SIGKILL to its group, and then to whatever of Ray is left: the power goes."""
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
    """A driver, dead at the end whatever happens."""
    driver = Driver(*arguments, **options)
    try:
        yield driver
    finally:
        driver.close()


def descendants(ancestor):
    """All processes below one, by what the kernel says of their parents."""
    children = collections.defaultdict(list)
    for stat in pathlib.Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            # The name, in brackets, may hold anything.
            children[int(stat.read_text().rpartition(")")[2].split()[1])].append(
                int(stat.parent.name)
            )
    found = [*children[ancestor]]
    for pid in found:
        found += children[pid]
    return found
