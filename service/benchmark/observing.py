"""The engine and its device, watched: when first notes come and how full the slots are.

Both do exactly what they do in the server; they only take notes, so that nothing in the serving
path has to know of benchmarks.
"""

import asyncio
import dataclasses
import functools
import time
from collections.abc import Callable, Collection, Sequence

from mt3_model.generation.backend import Backend
from mt3_model.notes.generated import FinishedSlot, GeneratedSegment, SlotEntry
from mt3_model.spectrogram.segments import Segment
from service.engine.engine import Admission, Engine


class ObservedBackend:
    """A backend that is asked how full its slots were."""

    def __init__(self, backend: Backend, clock: Callable[[], float] = time.perf_counter) -> None:
        self._backend = backend
        self._clock = clock
        self._taken: set[int] = set()
        self._visit_seconds = 0.0
        self._taken_seconds = 0.0

    @property
    def slots(self) -> int:
        """Of the backend."""
        return self._backend.slots

    @property
    def encode_batch(self) -> int:
        """Of the backend."""
        return self._backend.encode_batch

    def warm_up(self) -> None:
        """As the backend does."""
        self._backend.warm_up()

    def insert(self, entries: Sequence[SlotEntry], /) -> None:
        """As the backend does."""
        self._backend.insert(entries)
        self._taken.update(entry.slot for entry in entries)

    def step(self) -> list[FinishedSlot]:
        """As the backend does, timed."""
        began = self._clock()
        finished = self._backend.step()
        seconds = self._clock() - began
        self._visit_seconds += seconds
        self._taken_seconds += seconds * len(self._taken)
        self._taken.difference_update(ended.slot for ended in finished)
        return finished

    def release(self, slots: Collection[int], /) -> None:
        """As the backend does."""
        self._backend.release(slots)
        self._taken.difference_update(slots)

    def begin(self) -> None:
        """Forgets what was seen so far; called while nothing runs."""
        self._visit_seconds = self._taken_seconds = 0.0

    @property
    def slot_fill(self) -> float:
        """Share of the slots that was taken, mean over the time of visits; 0 without a visit.

        Counted when a visit begins: a slot whose segment ends within one counts for all of it.
        """
        return self._taken_seconds / max(self._visit_seconds, 1e-9) / self.slots


@dataclasses.dataclass(kw_only=True, slots=True)
class SeenSegment:
    """A segment's way through the engine."""

    segment: Segment
    """Without its samples."""
    finished: float
    """When its tokens were there, on the clock."""
    generated: GeneratedSegment


class ObservedEngine(Engine):
    """The engine, telling when each segment's tokens are there."""

    watch: Callable[[float], None] | None = None
    """Told, with each segment, its seconds of audio."""
    seen: dict[int, list[SeenSegment]]
    """By recording, in the order in which segments ended; set anew for each measurement."""

    def submit(
        self, segments: Sequence[Segment], admission: Admission
    ) -> list[asyncio.Future[GeneratedSegment]]:
        """As the engine does."""
        futures = super().submit(segments, admission)
        for segment, future in zip(segments, futures, strict=True):
            light = dataclasses.replace(segment, samples=segment.samples[:0].copy())
            future.add_done_callback(functools.partial(self._see, admission.recording_id, light))
        return futures

    def _see(
        self, recording_id: int, segment: Segment, future: asyncio.Future[GeneratedSegment]
    ) -> None:
        if future.cancelled() or future.exception() is not None:
            return
        self.seen.setdefault(recording_id, []).append(
            SeenSegment(segment=segment, finished=time.perf_counter(), generated=future.result())
        )
        if self.watch is not None:
            frames_per_second = self._spec.spectrogram.frames_per_second
            self.watch(segment.frames / frames_per_second)

    def first_notes(self) -> list[float]:
        """When each recording's first notes could be told, on the clock: its first segment's."""
        return [
            seen.finished
            for recording in self.seen.values()
            for seen in recording
            if seen.segment.index == 0
        ]
