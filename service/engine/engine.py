"""The async face of the device: who may wait, and how each recording gets its tokens.

The life of a recording here:

1. It asks for admission with its length in seconds. The sum of what is admitted and not yet
   generated is bounded; above the bound it is refused at once, told when to come back.
2. It submits its segments, a few at a time and at most ``segments_ahead`` of them not yet
   generated, and awaits a future for each. The segments of all recordings share the device's slots
   and take turns for them (`scheduler.py`), on the one thread that touches the device (`loop.py`).
3. It leaves the admission: finished, failed or cancelled. What it still has in the engine is
   forgotten, within one visit to the device, and its seconds are given back at once.

What a recording gets does not depend on the others, because a segment's tokens do not depend on
what is in the other slots.
"""

import asyncio
import contextlib
import dataclasses
import itertools
import math
import threading
import time
from collections.abc import Callable, Generator, Sequence

from mt3_model.notes.generated import GeneratedSegment
from mt3_model.notes.transcription import Decoding
from mt3_model.spec import ModelSpec
from mt3_model.spectrogram.segments import Segment
from service.engine.backend import Backend
from service.engine.loop import DeviceLoop, Outcome, Report, SegmentWork
from service.engine.requests import SegmentTask, TaskEnd
from service.errors import DeadlineError, EngineError, OverloadedError

_SPEED_BEFORE_MEASURED = 1.0
"""Audio seconds generated per second, assumed for Retry-After until something is generated."""
_SPEED_MEMORY_SECONDS = 30.0
"""The measured speed is that of the last so many seconds of work, older ones fading out."""
_MAX_RETRY_AFTER_SECONDS = 3_600
_CLOSED_MESSAGE = "the engine is closed: the server is going down"
_LONGEST_VISIT_SECONDS = 60.0
"""How long `Engine.close` waits for the device; compiling is the longest it does."""


@dataclasses.dataclass(kw_only=True, slots=True)
class Admission:
    """One recording's leave to wait; made by `Engine.admit`, and changed by the engine alone."""

    recording_id: int
    decoding: Decoding
    deadline: float | None
    """On the engine's clock."""
    waiting_audio_seconds: float
    """Admitted and not yet generated."""
    queue_seconds: float | None = None
    """From the submission of the recording's first segment until that was given a slot; what later
    segments wait for is the recording's own length, and not counted. None until it is generated."""
    submitted: float | None = None
    """When the first segment was submitted, on the engine's clock."""
    futures: dict[int, asyncio.Future[GeneratedSegment]] = dataclasses.field(
        default_factory=dict[int, asyncio.Future[GeneratedSegment]]
    )
    """Of its segments in the engine, by index."""


class Engine:
    """Serves one device to many recordings. To be used from one event loop."""

    def __init__(
        self,
        backend: Backend,
        spec: ModelSpec,
        *,
        max_waiting_audio_seconds: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.encode_batch = backend.encode_batch
        """Segments that are best submitted together."""
        self.segments_ahead = 2 * backend.slots
        """Most segments of one recording to have in the engine: enough to fill all slots, and to
        fill them again while the recording is told of the first."""
        self._spec = spec
        self._bound = max_waiting_audio_seconds
        self._clock = clock
        self._loop = DeviceLoop(backend, self._report, clock=clock)
        self._event_loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._is_closed = False
        self._admissions: dict[int, Admission] = {}
        self._ids = itertools.count()
        self._speed = _Speed()

    @property
    def waiting_audio_seconds(self) -> float:
        """Admitted and not yet generated, over all recordings."""
        return sum(admission.waiting_audio_seconds for admission in self._admissions.values())

    @property
    def failures(self) -> int:
        """How often the device has failed."""
        return self._loop.failures

    async def warm_up(self) -> None:
        """Compiles what the first segments would otherwise wait for, on the device's thread."""
        self._require_open()
        self._start()
        await asyncio.wrap_future(self._loop.warm_up())

    def require_capacity(self, audio_seconds: float = 0.0) -> None:
        """Refuses when there is no room for so many seconds more.

        A recording longer than the bound itself is let in when nothing else waits.

        Raises:
            OverloadedError: With the time after which there should be room.
        """
        waiting = self.waiting_audio_seconds
        if waiting == 0 or waiting + audio_seconds < self._bound:
            return
        excess = waiting + audio_seconds - self._bound
        retry_after = min(max(math.ceil(excess / self._speed.value), 1), _MAX_RETRY_AFTER_SECONDS)
        raise OverloadedError(
            f"{waiting:.0f} seconds of audio are waiting and {audio_seconds:.0f} more would pass"
            f" the bound of {self._bound:.0f}; try again in {retry_after} s",
            retry_after_seconds=retry_after,
        )

    @contextlib.contextmanager
    def admit(
        self, *, audio_seconds: float, decoding: Decoding, deadline: float | None = None
    ) -> Generator[Admission]:
        """Lets one recording wait, or refuses at once; leaving it cancels what is left.

        Args:
            audio_seconds: Its length; an estimate from above where it is not known.
            decoding: The rule of selection for all its segments.
            deadline: Time on the engine's clock after which nobody wants it.

        Raises:
            OverloadedError: Too much is waiting already.
        """
        self.require_capacity(audio_seconds)
        admission = Admission(
            recording_id=next(self._ids),
            decoding=decoding,
            deadline=deadline,
            waiting_audio_seconds=audio_seconds,
        )
        self._admissions[admission.recording_id] = admission
        try:
            yield admission
        finally:
            del self._admissions[admission.recording_id]
            if admission.futures:
                self._loop.cancel(admission.recording_id)
            for future in admission.futures.values():
                future.cancel()

    def submit(
        self, segments: Sequence[Segment], admission: Admission
    ) -> list[asyncio.Future[GeneratedSegment]]:
        """Lets segments wait for their slots; the order of ends is not that of segments.

        Args:
            segments: The recording's next; see ``encode_batch`` and ``segments_ahead``.
            admission: The recording's.

        Returns:
            Each segment's tokens to come. They raise EngineError if the device fails or the engine
            is closed, DeadlineError if the admission's deadline passes.
        """
        assert admission.recording_id in self._admissions, "the admission has not been left"
        self._require_open()
        event_loop = self._start()
        if admission.submitted is None:
            admission.submitted = self._clock()
        futures = [event_loop.create_future() for _ in segments]
        admission.futures |= zip((s.index for s in segments), futures, strict=True)
        self._loop.submit(
            SegmentTask(
                recording_id=admission.recording_id,
                index=segment.index,
                payload=SegmentWork(segment=segment, decoding=admission.decoding),
                deadline=admission.deadline,
            )
            for segment in segments
        )
        return futures

    async def close(self) -> None:
        """Ends the device's thread after its running visit; what waits or runs fails."""
        self._is_closed = True
        self._loop.stop()
        if self._thread is not None:
            await asyncio.to_thread(self._thread.join, _LONGEST_VISIT_SECONDS)

    def _require_open(self) -> None:
        if self._is_closed:
            raise EngineError(_CLOSED_MESSAGE, retry_after_seconds=1)

    def _start(self) -> asyncio.AbstractEventLoop:
        """Starts the device's thread at the first use; gives the event loop of that use."""
        if self._event_loop is None:
            self._event_loop = asyncio.get_running_loop()
            # A daemon: a device that hangs must not keep the process from ending.
            self._thread = threading.Thread(target=self._loop.run, name="device", daemon=True)
            self._thread.start()
        return self._event_loop

    def _report(self, report: Report) -> None:
        """On the device's thread: hands the report over to the event loop."""
        assert self._event_loop is not None, "the thread starts after it is set"
        with contextlib.suppress(RuntimeError):  # the event loop has ended: nobody awaits
            self._event_loop.call_soon_threadsafe(self._take_report, report)

    def _take_report(self, report: Report) -> None:
        finished = [o for o in report.outcomes if o.end is TaskEnd.FINISHED]
        self._speed.add(sum(map(self._audio_seconds, finished)), report.busy_seconds)
        for outcome in report.outcomes:
            admission = self._admissions.get(outcome.task.recording_id)
            if admission is not None:  # else cancelled meanwhile
                self._settle(outcome, admission)

    def _settle(self, outcome: Outcome, admission: Admission) -> None:
        is_first = outcome.task.index == 0
        if is_first and outcome.inserted is not None and admission.submitted is not None:
            admission.queue_seconds = outcome.inserted - admission.submitted
        seconds = self._audio_seconds(outcome)
        admission.waiting_audio_seconds = max(admission.waiting_audio_seconds - seconds, 0.0)
        future = admission.futures.pop(outcome.task.index)
        if future.done():  # its awaiter was cancelled
            return
        match outcome.end:
            case TaskEnd.FINISHED:
                assert outcome.generated is not None, "a finished task has its tokens"
                future.set_result(outcome.generated)
                return
            case TaskEnd.EXPIRED:
                error = DeadlineError("the deadline passed before the recording was transcribed")
            case TaskEnd.FAILED:
                error = EngineError(
                    "the device failed while it worked on this recording; try again in 1 s",
                    retry_after_seconds=1,
                )
            case TaskEnd.CLOSED:
                error = EngineError(_CLOSED_MESSAGE, retry_after_seconds=1)
        future.set_exception(error)
        # Marks it as seen: of a recording's failed segments only the first is awaited.
        future.exception()

    def _audio_seconds(self, outcome: Outcome) -> float:
        frames = outcome.task.payload.segment.frames
        return frames / self._spec.spectrogram.frames_per_second


class _Speed:
    """Audio seconds generated per second of the device's work, lately."""

    def __init__(self) -> None:
        self._audio_seconds = 0.0
        self._busy_seconds = 0.0

    @property
    def value(self) -> float:
        if self._audio_seconds == 0.0:
            return _SPEED_BEFORE_MEASURED
        return self._audio_seconds / max(self._busy_seconds, 1e-6)

    def add(self, audio_seconds: float, busy_seconds: float) -> None:
        """Counts work done; what was counted before fades by its time."""
        fading = math.exp(-busy_seconds / _SPEED_MEMORY_SECONDS)
        self._audio_seconds = fading * self._audio_seconds + audio_seconds
        self._busy_seconds = fading * self._busy_seconds + busy_seconds
