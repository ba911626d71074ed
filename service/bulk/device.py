"""The device, model, engine and transcriber of one actor, in one process.

The engine runs on an event loop in its own thread; the actor's threads submit units and wait. So
several units run at once and share the device's slots: while the last recordings of one unit end,
those of the next fill the slots. On a machine with enough cores the host's work on recordings is
done by processes of its own (`recordings/processes.py`), which end with this one.
"""

import asyncio
import math
import os
import threading
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, TypeVar

from mt3_model.audio.recording import ReadingLimits
from mt3_model.cores import usable_cores
from service.bulk.bulk_plan import BulkPlan, suitable_in_flight
from service.bulk.unit_worker import UnitOutcome, UnitWorker
from service.engine.engine import Engine
from service.model_loading import LoadedModel
from service.recording_opener import RecordingOpener
from service.recordings.processes import RecordingProcesses, suitable_recording_processes
from service.storage.objects import open_objects
from service.transcriber import Transcriber

Load = Callable[[], LoadedModel]
_EXIT_DEVICE_LOST = 70
"""EX_SOFTWARE of sysexits.h."""
T = TypeVar("T")


class BulkDevice:
    """Transcribes units on this process's device. Its methods may be called from many threads."""

    def __init__(self, plan: BulkPlan, load: Load, limits: ReadingLimits) -> None:
        """Load the model and warm it up; blocks until it is ready.

        Args:
            plan: the plan of the run.
            load: loads the model.
            limits: limits on reading recordings.

        Raises:
            MT3Error: the model cannot be loaded.
            ChildProcessError: a process for recordings does not start.
            EngineError: The device does not work.
            StorageError: Input or output cannot be opened.
        """
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(
            target=self._loop.run_forever, name="recordings", daemon=True
        )
        self._thread.start()
        loaded = load()
        self._engine = Engine(
            loaded.backend,
            loaded.spec,
            # No client waits for a response; the recordings in flight bound the queue.
            max_waiting_audio_seconds=math.inf,
        )
        in_flight = plan.in_flight or suitable_in_flight(
            loaded.backend.slots, loaded.spec.segment_seconds
        )
        recordings = RecordingProcesses(
            suitable_recording_processes(usable_cores(), loaded.backend.slots)
        )
        opener = RecordingOpener(
            self._engine,
            limits=limits,
            max_open_recordings=in_flight,
            open_work=recordings.open_work,
            is_background=True,
        )
        transcriber = Transcriber(self._engine, opener, loaded.provenance)
        self._worker = UnitWorker(
            plan,
            open_objects(plan.input_url, any_key=True),
            open_objects(plan.output_url, any_key=True),
            transcriber.transcribe,
            in_flight=in_flight,
            give_up=_end_process,
        )
        recordings.start()
        self._await(self._engine.warm_up())

    def do(self, keys: Sequence[str]) -> UnitOutcome:
        """Transcribe a unit; blocks.

        Raises:
            StorageError: the output rejects every write.
        """
        return self._await(self._worker.do(keys))

    def _await(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()


def _end_process() -> None:
    """End the process: Ray starts the actor again, here or on another machine."""
    os._exit(_EXIT_DEVICE_LOST)
