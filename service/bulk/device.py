"""A device, its model and everything in front of it, in one process: what an actor holds.

The engine and the recordings live on an event loop in a thread of their own; the actor's threads
hand in units and wait. So several units are under way at once and share the device's slots, and
while the last recordings of one end, those of the next fill them.
"""

import asyncio
import math
import os
import threading
from collections.abc import Callable, Coroutine, Sequence
from pathlib import Path
from typing import Any, TypeVar

from mt3_model.audio.recording import ReadingLimits
from mt3_model.notes.transcription import Transcription, TranscriptionOptions
from service.bulk.bulk_plan import BulkPlan, suitable_in_flight
from service.bulk.unit_worker import UnitOutcome, UnitWorker
from service.engine.engine import Engine
from service.model_loading import LoadedModel
from service.storage.objects import open_objects
from service.transcriber import Transcriber

Load = Callable[[], LoadedModel]
_EXIT_DEVICE_LOST = 70
"""EX_SOFTWARE of sysexits.h."""
T = TypeVar("T")


class BulkDevice:
    """Transcribes units on this process's device. Its methods may be called from many threads."""

    def __init__(self, plan: BulkPlan, load: Load, limits: ReadingLimits) -> None:
        """Loads the model and warms it up; blocks until it is ready.

        Args:
            plan: What to do.
            load: Loads the model.
            limits: What a recording may ask of this machine.

        Raises:
            MT3Error: The model cannot be had.
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
            # Nobody waits for an answer: what bounds the queue is the recordings in flight.
            max_waiting_audio_seconds=math.inf,
        )
        in_flight = plan.in_flight or suitable_in_flight(
            loaded.backend.slots, loaded.spec.segment_seconds
        )
        transcriber = Transcriber(
            self._engine,
            loaded.spec,
            loaded.provenance,
            limits=limits,
            max_open_recordings=in_flight,
            is_background=True,
        )

        async def transcribe(path: Path, options: TranscriptionOptions) -> Transcription:
            return await transcriber.transcribe(path, options)

        self._worker = UnitWorker(
            plan,
            open_objects(plan.input_url, any_key=True),
            open_objects(plan.output_url, any_key=True),
            transcribe,
            in_flight=in_flight,
            give_up=_end_process,
        )
        self._await(self._engine.warm_up())

    def do(self, keys: Sequence[str]) -> UnitOutcome:
        """Does a unit; blocks.

        Raises:
            StorageError: The output does not take anything.
        """
        return self._await(self._worker.do(keys))

    def close(self) -> None:
        """Close the engine and its thread."""
        self._await(self._engine.close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _await(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()


def _end_process() -> None:
    """End the process: Ray starts the actor again, here or on another machine."""
    os._exit(_EXIT_DEVICE_LOST)
