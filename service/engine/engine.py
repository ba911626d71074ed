"""The async face of the device: who may wait, and how each recording gets its tokens.

The life of a recording here:

1. It asks for admission with its length in seconds. The sum of what is admitted and not yet
   generated is bounded, for all and for its caller (`admission.py`); above a bound it is refused at
   once, told when to come back.
2. It submits its segments, a few at a time and at most ``segments_ahead`` of them not yet
   generated, and awaits a future for each. The segments of all recordings share the device's slots
   and take turns for them (`scheduler.py`), on the one thread that touches the device (`loop.py`).
3. It leaves the admission: finished, failed or cancelled. What it still has in the engine is
   forgotten, within one visit to the device, and its seconds are given back at once.

What a recording gets does not depend on the others, because a segment's tokens do not depend on
what is in the other slots.

No future waits for ever. A device that keeps failing, or whose call does not return within
``hang_seconds``, is unhealthy: everything in the engine fails at once, and admission is refused
until the device, tried again every few seconds, works.
"""

import asyncio
import contextlib
import itertools
import math
import threading
import time
from collections.abc import Callable, Generator, Sequence

from mt3_model.generation.backend import Backend
from mt3_model.notes.generated import GeneratedSegment
from mt3_model.notes.transcription import Decoding
from mt3_model.spec import ModelSpec
from mt3_model.spectrogram.segments import Segment
from service.engine.admission import Admission, Admissions
from service.engine.device_health import LONGEST_PAUSE_SECONDS
from service.engine.loop import DeviceLoop
from service.engine.messages import IterationReport, SegmentWork, TaskOutcome
from service.engine.segment_tasks import ANONYMOUS_CALLER, SegmentTask, TaskEnd
from service.engine.watchdog import Watchdog
from service.errors import DeadlineError, EngineError
from service.observability.metrics import Metrics

_HANG_SECONDS = 120.0
"""Longer than the longest that a call does, which is compiling: under a minute on a slow CPU."""
_LONGEST_ITERATION_SECONDS = 60.0
"""How long `Engine.close` waits for the device; compiling is the longest it does."""


class Engine:
    """Serves one device to many recordings. To be used from one event loop."""

    def __init__(
        self,
        backend: Backend,
        spec: ModelSpec,
        *,
        max_waiting_audio_seconds: float,
        hang_seconds: float = _HANG_SECONDS,
        trial_seconds: float = 2.0,
        close_seconds: float = _LONGEST_ITERATION_SECONDS,
        on_health: Callable[[bool], None] | None = None,
        clock: Callable[[], float] = time.monotonic,
        metrics: Metrics | None = None,
    ) -> None:
        """Starts no thread yet.

        Args:
            backend: The device.
            spec: Of the model on it.
            max_waiting_audio_seconds: Most audio admitted and not yet generated.
            hang_seconds: A device call that lasts longer has hung.
            trial_seconds: From the device's becoming unhealthy to the first trial of it.
            close_seconds: Longest that `close` waits for the device.
            on_health: Told, on the event loop, whenever ``is_healthy`` changes.
            clock: Of deadlines and of all that is measured.
            metrics: Of the server.
        """
        self.encode_batch = backend.encode_batch
        """Segments that are best submitted together."""
        self.segments_ahead = 2 * backend.slots
        """Most segments of one recording to have in the engine: enough to fill all slots, and to
        fill them again while the recording is told of the first."""
        self.is_healthy = True
        """Whether the device works, as far as is known."""
        self._spec = spec
        self._clock = clock
        self._close_seconds = close_seconds
        self._on_health = on_health
        self._metrics = metrics or Metrics()
        self._loop = DeviceLoop(
            backend,
            self._report,
            spec=spec,
            trial_seconds=trial_seconds,
            clock=clock,
            metrics=self._metrics,
        )
        self._watchdog = Watchdog(
            self._loop,
            hang_seconds=hang_seconds,
            on_hang=self._handle_hang,
            on_death=self._lose_device,
            clock=clock,
        )
        self._event_loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._watching: asyncio.Task[None] | None = None
        self._is_closed = False
        self._admissions = Admissions(bound_seconds=max_waiting_audio_seconds, clock=clock)
        self._ids = itertools.count()

    @property
    def waiting_audio_seconds(self) -> float:
        """Admitted and not yet generated, over all recordings."""
        return self._admissions.waiting_audio_seconds

    @property
    def typical_audio_seconds(self) -> float:
        """Length of the recordings that come lately: a guess for one that is not opened yet."""
        return self._admissions.typical_audio_seconds

    @property
    def failures(self) -> int:
        """How often the device has raised, or given something that is not a number."""
        return self._loop.failures

    async def warm_up(self) -> None:
        """Compiles what the first segments would otherwise wait for, on the device's thread."""
        self._require_usable()
        self._start()
        await asyncio.wrap_future(self._loop.warm_up())

    def require_capacity(
        self,
        audio_seconds: float = 0.0,
        *,
        caller: str = ANONYMOUS_CALLER,
        caller_bound_seconds: float | None = None,
    ) -> None:
        """Refuses when there is no room for so many seconds more.

        A recording longer than a bound itself is let in when nothing else waits under that bound.

        Args:
            audio_seconds: To be added.
            caller: Who asks.
            caller_bound_seconds: Most audio of the caller's that may wait; absent: no such bound.

        Raises:
            EngineError: The device does not work, or the engine is closed.
            QuotaError: The caller has too much waiting, with the time after which it has room.
            OverloadedError: The server has, with the time after which it should have room.
        """
        self._require_usable()
        self._admissions.require_room(
            audio_seconds, caller=caller, caller_bound_seconds=caller_bound_seconds
        )

    def retry_after(self, audio_seconds: float) -> int:
        """Whole seconds, at least 1, until the server should have room for so much audio more."""
        return self._admissions.retry_after(audio_seconds)

    def promise(self, room_after: float) -> int:
        """Whole seconds after which somebody refused should come back, after those before.

        Args:
            room_after: Seconds until there is room for one recording.
        """
        return self._admissions.promise(room_after)

    def seconds_to_next_end(self, caller: str | None = None) -> float:
        """Time until the first of the admitted recordings should be generated; 0 without any.

        Args:
            caller: The first of this caller's; absent: of anybody's.
        """
        return self._admissions.seconds_to_next_end(caller)

    @contextlib.contextmanager
    def admit(
        self,
        *,
        audio_seconds: float,
        decoding: Decoding,
        caller: str = ANONYMOUS_CALLER,
        caller_bound_seconds: float | None = None,
        deadline: float | None = None,
        is_background: bool = False,
    ) -> Generator[Admission]:
        """Lets one recording wait, or refuses at once; leaving it cancels what is left.

        Args:
            audio_seconds: Its length; an estimate from above where it is not known.
            decoding: The rule of selection for all its segments.
            caller: Who sent it: callers take turns.
            caller_bound_seconds: As in `require_capacity`.
            deadline: Time on the engine's clock after which nobody wants it.
            is_background: Of a job: let in whatever waits, and no room taken from requests.

        Raises:
            EngineError: The device does not work, or the engine is closed.
            QuotaError: Too much of this caller's is waiting already.
            OverloadedError: Too much is waiting already.
        """
        if is_background:
            self._require_usable()
        else:
            self.require_capacity(
                audio_seconds, caller=caller, caller_bound_seconds=caller_bound_seconds
            )
        admission = Admission(
            recording_id=next(self._ids),
            caller=caller,
            decoding=decoding,
            deadline=deadline,
            waiting_audio_seconds=audio_seconds,
            is_background=is_background,
        )
        self._admissions.add(admission)
        self._update_queue_metric()
        try:
            yield admission
        finally:
            del self._admissions.by_recording[admission.recording_id]
            self._update_queue_metric()
            if admission.futures:
                self._loop.cancel(admission.recording_id)
                self._metrics.segments.labels("cancelled").inc(len(admission.futures))
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

        Raises:
            EngineError: The device does not work, or the engine is closed.
        """
        assert admission.recording_id in self._admissions.by_recording, "it has not been left"
        self._require_usable()
        event_loop = self._start()
        now = self._clock()
        if admission.submitted is None:
            admission.submitted = now
        futures = [event_loop.create_future() for _ in segments]
        admission.futures |= zip((s.index for s in segments), futures, strict=True)
        self._loop.submit(
            SegmentTask(
                recording_id=admission.recording_id,
                index=segment.index,
                payload=SegmentWork(segment=segment, decoding=admission.decoding),
                caller=admission.caller,
                deadline=admission.deadline,
                submitted=now,
            )
            for segment in segments
        )
        return futures

    async def close(self) -> None:
        """Ends the device's thread after its running visit; what waits or runs fails.

        Waits ``close_seconds`` at most, and for a call that has hung not at all.
        """
        self._is_closed = True
        self._loop.stop()
        if self._watching is not None:
            self._watching.cancel()
        if self._thread is not None:
            seconds = 0.0 if self._watchdog.sees_hang else self._close_seconds
            await asyncio.to_thread(self._thread.join, seconds)
        self._fail_all(_closed_error, TaskEnd.CLOSED)

    def _require_usable(self) -> None:
        if self._is_closed:
            raise _closed_error()
        if not self.is_healthy:
            raise self._unhealthy_error()

    def _unhealthy_error(self) -> EngineError:
        pause = self._loop.next_trial - self._clock()
        if not math.isfinite(pause):  # it hangs: nobody knows
            pause = LONGEST_PAUSE_SECONDS
        # A trial takes about as long as a visit; a second is for that.
        retry_after = max(math.ceil(pause), 0) + 1
        return EngineError(
            "the device keeps failing; it is tried again every few seconds;"
            f" try again in {retry_after} s",
            retry_after_seconds=retry_after,
        )

    def _start(self) -> asyncio.AbstractEventLoop:
        """Starts the device's thread at the first use; gives the event loop of that use."""
        if self._event_loop is None:
            self._event_loop = asyncio.get_running_loop()
            # A daemon: a device that hangs must not keep the process from ending.
            self._thread = threading.Thread(target=self._loop.run, name="device", daemon=True)
            self._thread.start()
            self._watching = asyncio.create_task(self._watchdog.watch(self._thread))
        return self._event_loop

    def _handle_hang(self) -> None:
        self._metrics.engine_failures.labels("hang").inc()
        self._loop.abandon()
        self._lose_device()

    def _lose_device(self) -> None:
        """Nothing comes from the device any more, for now: nobody must wait for it."""
        self._set_health(is_healthy=False)
        self._fail_all(self._unhealthy_error, TaskEnd.FAILED)

    def _set_health(self, *, is_healthy: bool) -> None:
        if is_healthy == self.is_healthy:
            return
        self.is_healthy = is_healthy
        self._metrics.engine_healthy.set(is_healthy)
        if self._on_health is not None and not self._is_closed:
            self._on_health(is_healthy)

    def _fail_all(self, make_error: Callable[[], Exception], end: TaskEnd) -> None:
        """Fails every future there is, each with an error of its own."""
        for admission in self._admissions.by_recording.values():
            self._metrics.segments.labels(end.value).inc(len(admission.futures))
            for future in admission.futures.values():
                _fail(future, make_error())
            admission.futures.clear()

    def _report(self, report: IterationReport) -> None:
        """On the device's thread: hands the report over to the event loop."""
        assert self._event_loop is not None, "the thread starts after it is set"
        with contextlib.suppress(RuntimeError):  # the event loop has ended: nobody awaits
            self._event_loop.call_soon_threadsafe(self._handle_report, report)

    def _handle_report(self, report: IterationReport) -> None:
        if report.health is not None:
            self._set_health(is_healthy=report.health)
        finished = [o for o in report.outcomes if o.end is TaskEnd.FINISHED]
        self._admissions.speed.add(sum(map(self._audio_seconds, finished)), report.busy_seconds)
        for outcome in report.outcomes:
            admission = self._admissions.by_recording.get(outcome.task.recording_id)
            # Else it was cancelled meanwhile, or its device was lost: it has been counted.
            if admission is not None and outcome.task.index in admission.futures:
                self._resolve(outcome, admission)
        self._update_queue_metric()

    def _resolve(self, outcome: TaskOutcome, admission: Admission) -> None:
        is_first = outcome.task.index == 0
        if is_first and outcome.inserted is not None and admission.submitted is not None:
            admission.queue_seconds = outcome.inserted - admission.submitted
        seconds = self._audio_seconds(outcome)
        admission.waiting_audio_seconds = max(admission.waiting_audio_seconds - seconds, 0.0)
        self._metrics.segments.labels(outcome.end.value).inc()
        future = admission.futures.pop(outcome.task.index)
        match outcome.end:
            case TaskEnd.FINISHED:
                assert outcome.generated is not None, "a finished task has its tokens"
                self._metrics.tokens.inc(len(outcome.generated.tokens))
                self._metrics.audio_seconds.inc(seconds)
                if not future.done():  # else its awaiter was cancelled
                    future.set_result(outcome.generated)
                return
            case TaskEnd.EXPIRED:
                error = DeadlineError("the deadline passed before the recording was transcribed")
            case TaskEnd.FAILED if not self.is_healthy:
                error = self._unhealthy_error()
            case TaskEnd.FAILED:
                error = EngineError(
                    "the device failed twice while it worked on this recording; try again in 1 s",
                    retry_after_seconds=1,
                )
            case TaskEnd.CLOSED:
                error = _closed_error()
        _fail(future, error)

    def _update_queue_metric(self) -> None:
        self._metrics.queue_audio_seconds.set(self.waiting_audio_seconds)

    def _audio_seconds(self, outcome: TaskOutcome) -> float:
        frames = outcome.task.payload.segment.frames
        return frames / self._spec.spectrogram.frames_per_second


def _closed_error() -> EngineError:
    return EngineError("the engine is closed: the server is going down", retry_after_seconds=1)


def _fail(future: asyncio.Future[GeneratedSegment], error: Exception) -> None:
    if future.done():  # its awaiter was cancelled
        return
    future.set_exception(error)
    # Marks it as seen: of a recording's failed segments only the first is awaited.
    future.exception()
