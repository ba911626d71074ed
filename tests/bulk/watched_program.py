"""Run `mt3 bulk` with actors that start together and record which of them work.

On a busy machine one actor may start after the other has done everything, and a test that kills one
of two needs both.
"""

import os
import pathlib
import time

from service.engine.fake_backend import FakeBackend
from tests.bulk.program import run, with_backend

FOLDER = "MT3_TEST_ACTORS"
"""Environment variable: the folder for the actors' process ids."""
ACTORS = 2


class WatchedBackend(FakeBackend):
    """A fake backend that records that it has had work."""

    def insert(self, entries, /):
        super().insert(entries)
        record_process("working")


def record_process(kind):
    """Write a file named by this process's id."""
    path = pathlib.Path(os.environ[FOLDER]) / kind / str(os.getpid())
    path.parent.mkdir(exist_ok=True)
    path.touch()


def processes(folder, kind):
    """Return the ids of the processes recorded under ``kind``."""
    return [int(path.name) for path in (folder / kind).glob("*")]


def load(settings):
    """Load the model as the service does, after `ACTORS` actors have started."""
    record_process("loading")
    while len(processes(pathlib.Path(os.environ[FOLDER]), "loading")) < ACTORS:
        time.sleep(0.02)
    seconds = settings.fake_iteration_seconds
    return with_backend(
        settings, lambda spec: WatchedBackend(spec, slots=4, iteration_seconds=seconds)
    )


if __name__ == "__main__":
    run("tests.bulk.watched_program")
