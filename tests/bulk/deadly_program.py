"""Run `mt3 bulk` with a device that kills its process on a full-scale recording."""

import os
import signal

import numpy as np

from service.engine.fake_backend import FakeBackend
from tests.bulk.program import run, with_backend


class DeadlyBackend(FakeBackend):
    """A fake backend that kills its process when a sample exceeds 0.9."""

    def insert(self, entries, /):
        for entry in entries:
            if np.abs(entry.segment.samples).max(initial=0.0) > 0.9:
                os.kill(os.getpid(), signal.SIGKILL)
        super().insert(entries)


def load(settings):
    """Load the model as the service does, with a `DeadlyBackend`."""
    return with_backend(settings, lambda spec: DeadlyBackend(spec, slots=4))


if __name__ == "__main__":
    run("tests.bulk.deadly_program")
