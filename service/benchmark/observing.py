"""Wrap the engine and its device to record when first notes come and how full the slots are.

Both behave as in the server. Recording happens here, so that the serving path contains no
benchmark code.
"""

import asyncio
import dataclasses
import functools
import time
from collections.abc import Callable, Collection, Mapping, Sequence

from mt3_model.generation.backend import Backend
from mt3_model.notes.generated import FinishedSlot, GeneratedSegment, SlotEntry
from mt3_model.spectrogram.segments import Segment
from service.engine.admission import Admission
from service.engine.engine import Engine


class ObservedBackend:
    """A backend that measures the share of its slots in use."""

    def __init__(self, backend: Backend, clock: Callable[[], float] = time.perf_counter) -> None:
        self._backend = backend
        self._clock = clock
        self._taken: set[int] = set()
        self._step_seconds = 0.0
        self._taken_seconds = 0.0

    @property
    def slots(self) -> int:
        """Number of slots of the backend."""
        return self._backend.slots

    @property
    def encode_batch(self) -> int:
        """Segments of one encode batch."""
        return self._backend.encode_batch

    def warm_up(self) -> None:
        """Warm the backend up."""
        self._backend.warm_up()

    def insert(self, entries: Sequence[SlotEntry], /) -> None:
        """Insert segments and count their slots as taken."""
        self._backend.insert(entries)
        self._taken.update(entry.slot for entry in entries)

    def step(self) -> list[FinishedSlot]:
        """Run one device iteration and add its time to the slots in use."""
        began = self._clock()
        finished = self._backend.step()
        seconds = self._clock() - began
        self._step_seconds += seconds
        self._taken_seconds += seconds * len(self._taken)
        self._taken.difference_update(ended.slot for ended in finished)
        return finished

    def release(self, slots: Collection[int], /) -> None:
        """Release slots and count them as free."""
        self._backend.release(slots)
        self._taken.difference_update(slots)

    def reset(self) -> None:
        """Clear the measurement; call it while nothing runs."""
        self._step_seconds = self._taken_seconds = 0.0

    @property
    def slot_fill(self) -> float:
        """Share of the slots in use, averaged over the time of device iterations; 0 without any.

        Counted at the start of an iteration: a slot whose segment ends in it counts as used.
        """
        return self._taken_seconds / max(self._step_seconds, 1e-9) / self.slots


@dataclasses.dataclass(kw_only=True, slots=True)
class SeenSegment:
    """A segment that the engine has finished."""

    segment: Segment
    """The segment without its samples."""
    finished: float
    """Time of its last token, in seconds of ``time.perf_counter``."""
    generated: GeneratedSegment


class ObservedEngine(Engine):
    """An engine that records when each segment is finished."""

    seen: dict[int, list[SeenSegment]]
    """Finished segments by recording since `observe`, in order of completion."""
    _on_segment: Callable[[float], None] | None = None

    def observe(self, on_segment: Callable[[float], None] | None = None) -> None:
        """Begin a measurement, without the segments of earlier ones.

        Args:
            on_segment: called with the seconds of audio of each finished segment.
        """
        self.seen = {}
        self._on_segment = on_segment

    def submit(
        self, segments: Sequence[Segment], admission: Admission
    ) -> list[asyncio.Future[GeneratedSegment]]:
        """Submit segments and record the completion of each."""
        futures = super().submit(segments, admission)
        for segment, future in zip(segments, futures, strict=True):
            light = dataclasses.replace(segment, samples=segment.samples[:0].copy())
            future.add_done_callback(functools.partial(self._record, admission.recording_id, light))
        return futures

    def _record(
        self, recording_id: int, segment: Segment, future: asyncio.Future[GeneratedSegment]
    ) -> None:
        if future.cancelled() or future.exception() is not None:
            return
        self.seen.setdefault(recording_id, []).append(
            SeenSegment(segment=segment, finished=time.perf_counter(), generated=future.result())
        )
        if self._on_segment is not None:
            frames_per_second = self.spec.spectrogram.frames_per_second
            self._on_segment(segment.frames / frames_per_second)


def first_notes(seen: Mapping[int, Sequence[SeenSegment]]) -> list[float]:
    """Return the completion time of each recording's first segment."""
    return [
        each.finished
        for recording in seen.values()
        for each in recording
        if each.segment.index == 0
    ]
