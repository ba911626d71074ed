"""`mt3 bulk` with a device that kills its process when it hears a full-scale recording."""

import importlib
import os
import signal
import sys

import numpy as np

from service import cli, loading
from service.commands import bulk
from service.engine.fake_backend import FakeBackend


class DeadlyBackend(FakeBackend):
    """As the fake one, but for the shot."""

    def insert(self, entries, /):
        for entry in entries:
            if np.abs(entry.segment.samples).max(initial=0.0) > 0.9:
                os.kill(os.getpid(), signal.SIGKILL)
        super().insert(entries)


def load(settings):
    """As the service does, and then takes the device away."""
    loaded = loading.load_model(settings)
    backend = DeadlyBackend(loaded.spec, slots=4)
    return loading.LoadedModel(spec=loaded.spec, provenance=loaded.provenance, backend=backend)


if __name__ == "__main__":
    # Under its name, and not as part of the main program: the actors import it.
    bulk.load_model = importlib.import_module("tests.bulk.deadly_program").load
    sys.exit(cli.main())
