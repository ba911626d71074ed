"""The whole service over a paced device, as a process that reports where its processor time went.

`__main__.py` starts it. It writes its port as one line, and for each line it reads one JSON object:
processor seconds so far by place, and the device's counts.
"""

import argparse
import contextlib
import json
import os
import sys
import tempfile
import threading
import time

from mt3_model.generation.shapes import SlotShapes
from mt3_model.notes.transcription import ModelProvenance
from mt3_model.spec import MT3
from service.api.app import create_app
from service.api.server import serve
from service.commands.listening_sockets import listening
from service.model_loading import LoadedModel
from service.settings import Settings
from tests.benchmarks.gpu.shapes import parse_shapes
from tests.benchmarks.service.descendants import seconds_of_descendants
from tests.benchmarks.service.paced_backend import Pace, PacedBackend
from tests.benchmarks.service.recorded_tokens import read_recorded

_PLACES = {"MainThread": "event_loop", "device": "device"}
_WORKERS = ("asyncio_", "uvloop_", "AnyIO worker")
"""Names of the threads that write files."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shapes", type=parse_shapes, required=True)
    parser.add_argument("--processes", type=int, default=1, help="that work on recordings")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, listening("127.0.0.1", 0) as sockets:
        print(sockets[0].getsockname()[1], flush=True)
        _serve(arguments.shapes, arguments.processes, folder, sockets)
    os._exit(0)


def _serve(shapes: SlotShapes, processes: int, folder: str, sockets: list) -> None:
    backend = PacedBackend(read_recorded(), shapes, Pace())
    provenance = ModelProvenance(
        name="mt3", checkpoint_sha256="paced", code_version="0", precision="bfloat16"
    )
    settings = Settings(
        upload_dir=folder, jobs=False, log_level="error", recording_processes=processes
    )
    threading.Thread(target=_report, args=(backend,), daemon=True).start()
    app = create_app(
        settings,
        load=lambda _: LoadedModel(spec=MT3, provenance=provenance, backend=backend),
    )
    serve(
        app,
        host="127.0.0.1",
        port=0,
        shutdown_grace_seconds=0,
        max_connections=settings.max_connections,
        sockets=sockets,
    )


def _report(backend: PacedBackend) -> None:
    for _ in sys.stdin:
        print(
            json.dumps(
                {
                    "cpu": _cpu_seconds(),
                    "iterations": backend.iterations,
                    "inserts": backend.inserts,
                    "slept": backend.slept_seconds,
                }
            ),
            flush=True,
        )


def _cpu_seconds() -> dict[str, float]:
    """Return the processor seconds so far, by place.

    Threads that have ended, those that read recordings, are what remains of the process.
    """
    places = dict.fromkeys((*_PLACES.values(), "workers"), 0.0)
    for thread in threading.enumerate():
        place = _PLACES.get(thread.name)
        if thread.name.startswith(_WORKERS):
            place = "workers"
        if place is not None and thread.ident is not None:
            with contextlib.suppress(OSError):  # it has just ended
                clock = time.pthread_getcpuclockid(thread.ident)
                places[place] += time.clock_gettime(clock)
    places["readers"] = time.process_time() - sum(places.values())
    return places | {"processes": seconds_of_descendants()}


if __name__ == "__main__":
    main()
