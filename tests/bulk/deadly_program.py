"""`mt3 bulk` with a device that kills its process when it hears a full-scale recording."""

import os
import signal

import numpy as np

from service.engine.fake_backend import FakeBackend
from tests.bulk.program import run, with_backend


class DeadlyBackend(FakeBackend):
    """As the fake one, but for the shot."""

    def insert(self, entries, /):
        for entry in entries:
            if np.abs(entry.segment.samples).max(initial=0.0) > 0.9:
                os.kill(os.getpid(), signal.SIGKILL)
        super().insert(entries)


def load(settings):
    """As the service does, and then takes the device away."""
    return with_backend(settings, lambda spec: DeadlyBackend(spec, slots=4))


if __name__ == "__main__":
    run("tests.bulk.deadly_program")
