"""The synchronous client is what the generator makes of the asynchronous one today."""

import subprocess
import sys

from tests.repository.tracked_files import ROOT


def test_the_synchronous_client_is_current():
    # In a process of its own, because unasync imports setuptools.
    command = [sys.executable, "-m", "tests.repository.sync_client", "--check"]
    run = subprocess.run(command, check=False, cwd=ROOT, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
