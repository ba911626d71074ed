"""`mt3 bulk` whose actors begin together and tell which of them work.

A busy machine may start one actor when the other has done everything; a test that kills one of two
wants two.
"""

import os
import pathlib
import time

from service.engine.fake_backend import FakeBackend
from tests.bulk.program import run, with_backend

FOLDER = "MT3_TEST_ACTORS"
"""Variable of the environment: where the actors leave their process ids."""
ACTORS = 2


class WatchedBackend(FakeBackend):
    """As the fake one, and says that it has had work."""

    def insert(self, entries, /):
        super().insert(entries)
        leave_word("working")


def leave_word(kind):
    """A file that says which process it was."""
    path = pathlib.Path(os.environ[FOLDER]) / kind / str(os.getpid())
    path.parent.mkdir(exist_ok=True)
    path.touch()


def processes(folder, kind):
    """Those that left this word."""
    return [int(path.name) for path in (folder / kind).glob("*")]


def load(settings):
    """As the service does, once there are as many actors as there should be."""
    leave_word("loading")
    while len(processes(pathlib.Path(os.environ[FOLDER]), "loading")) < ACTORS:
        time.sleep(0.02)
    seconds = settings.fake_visit_seconds
    return with_backend(
        settings, lambda spec: WatchedBackend(spec, slots=4, iteration_seconds=seconds)
    )


if __name__ == "__main__":
    run("tests.bulk.watched_program")
