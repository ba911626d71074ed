"""The engine: shares one device among many recordings, from one event loop.

The life of a recording in the engine:

1. `Engine.admit` requests admission with the recording's length. The audio admitted and not yet
   generated is bounded, over all callers and for each caller (`admission.py`). Above a bound the
   recording is refused at once, with the seconds after which to try again.
2. `Engine.submit` submits its segments, a few at a time and at most ``segments_ahead`` that are not
   yet generated, and returns a future for each. The segments of all recordings share the device's
   slots and take turns for them (`scheduler.py`), on the device's thread (`loop.py`).
3. It leaves the admission: finished, failed or canceled. Its segments still in the engine are
   dropped within one iteration of the device loop, and their seconds are given back at once.

A recording's result does not depend on the others, because a segment's tokens do not depend on the
other slots.

No future waits forever. A device that keeps failing, or a call that does not return within
``hang_seconds``, makes the engine unhealthy: everything in it fails at once, and admission is
refused until a trial of the device, repeated every few seconds, succeeds.
"""

import asyncio
import contextlib
import itertools
import math
import threading
import time
from collections.abc import Callable, Generator, Sequence

from mt3_model.generation.backend import Backend
from mt3_model.notes.generated import ForbiddenTokens, GeneratedSegment
from mt3_model.notes.transcription import Decoding
from mt3_model.spec import ModelSpec
from mt3_model.spectrogram.segments import Segment
from service.engine.admission import Admission, Admissions
from service.engine.device_health import LONGEST_PAUSE_SECONDS
from service.engine.loop import DeviceLoop
from service.engine.messages import IterationReport, SegmentWork, TaskOutcome
from service.engine.segment_tasks import ANONYMOUS_CALLER, SegmentTask, TaskEnd
from service.engine.watchdog import Watchdog
from service.errors import EngineError
from service.observability.metrics import Metrics

_HANG_SECONDS = 120.0
"""Longer than the longest call, which compiles: under a minute on a slow CPU."""
_LONGEST_ITERATION_SECONDS = 60.0
"""Longest that `Engine.close` waits for the device; compiling is the longest it does."""


class Engine:
    """Shares one device among many recordings. To be used from one event loop."""

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
        """Prepare the engine; the device's thread starts at the first use.

        Args:
            backend: the device.
            spec: the model on it.
            max_waiting_audio_seconds: maximum audio admitted and not yet generated.
            hang_seconds: a device call that lasts longer counts as hung.
            trial_seconds: time from the device's becoming unhealthy to the first trial.
            close_seconds: longest that `close` waits for the device.
            on_health: called on the event loop whenever ``is_healthy`` changes.
            clock: clock of all measurements.
            metrics: the server's metrics registry.
        """
        self.spec = spec
        """The model on the device."""
        self.encode_batch = backend.encode_batch
        """Segments that are best submitted together."""
        self.segments_ahead = 2 * backend.slots
        """Maximum number of segments of one recording in the engine: enough to fill all slots, and
        to refill them while the first results are handled."""
        self.admissions = Admissions(bound_seconds=max_waiting_audio_seconds, clock=clock)
        """The admitted recordings, and the waiting times that follow from them."""
        self.is_healthy = True
        """Whether the device works, as far as is known."""
        self._clock = clock
        self._close_seconds = close_seconds
        self._on_health = on_health
        self._metrics = metrics or Metrics()
        self._loop = DeviceLoop(
            backend,
            self._send_report,
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
        self._ids = itertools.count()

    @property
    def failures(self) -> int:
        """Number of device calls that raised or returned something that is not a number."""
        return self._loop.failures

    async def warm_up(self) -> None:
        """Compile, on the device's thread, what the first segments would otherwise wait for."""
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
        """Refuse a recording for which there is no room, or no device.

        A recording longer than a bound is admitted when nothing else waits under that bound.

        Args:
            audio_seconds: length of the recording.
            caller: sender of the recording.
            caller_bound_seconds: maximum audio of this caller that may wait; None: no such limit.

        Raises:
            EngineError: the device does not work, or the engine is closed.
            QuotaError: the caller's bound is reached; with the seconds until it has room.
            OverloadedError: the server's bound is reached; with the seconds until it has room.
        """
        self._require_usable()
        self.admissions.require_room(
            audio_seconds, caller=caller, caller_bound_seconds=caller_bound_seconds
        )

    @contextlib.contextmanager
    def admit(
        self,
        *,
        audio_seconds: float,
        decoding: Decoding,
        forbidden: ForbiddenTokens | None = None,
        caller: str = ANONYMOUS_CALLER,
        caller_bound_seconds: float | None = None,
        is_background: bool = False,
    ) -> Generator[Admission]:
        """Admit one recording for the length of the context, or refuse it at once.

        Leaving the context cancels the recording's segments still in the engine.

        Args:
            audio_seconds: its length; an upper estimate if it is unknown.
            decoding: the rule of selection for all its segments.
            forbidden: tokens that its segments must not have.
            caller: its sender; callers take turns.
            caller_bound_seconds: as in `require_capacity`.
            is_background: whether it belongs to a job: it is admitted whatever waits, and takes no
                room from requests.

        Raises:
            EngineError: the device does not work, or the engine is closed.
            QuotaError: as in `require_capacity`.
            OverloadedError: as in `require_capacity`.
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
            forbidden=forbidden,
            waiting_audio_seconds=audio_seconds,
            is_background=is_background,
        )
        self.admissions.add(admission)
        self._update_queue_metric()
        try:
            yield admission
        finally:
            del self.admissions.by_recording[admission.recording_id]
            self._update_queue_metric()
            if admission.futures:
                self._loop.cancel(admission.recording_id)
                self._metrics.segments.labels("canceled").inc(len(admission.futures))
            for future in admission.futures.values():
                future.cancel()

    def submit(
        self, segments: Sequence[Segment], admission: Admission
    ) -> list[asyncio.Future[GeneratedSegment]]:
        """Submit segments to the device; they may end in any order.

        Args:
            segments: the recording's next segments; see ``encode_batch`` and ``segments_ahead``.
            admission: the recording's admission.

        Returns:
            A future for each segment's tokens. It raises EngineError if the device fails or the
            engine is closed.

        Raises:
            EngineError: the device does not work, or the engine is closed.
        """
        assert admission.recording_id in self.admissions.by_recording, "it has not been left"
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
                payload=SegmentWork(
                    segment=segment,
                    decoding=admission.decoding,
                    forbidden=admission.forbidden,
                ),
                caller=admission.caller,
                submitted=now,
            )
            for segment in segments
        )
        return futures

    async def close(self) -> None:
        """End the device's thread after its current iteration; whatever is in the engine fails.

        Waits ``close_seconds`` at most, and not at all for a call that hangs or for the warm-up.
        """
        self._is_closed = True
        self._loop.stop()
        if self._watching is not None:
            self._watching.cancel()
        if self._thread is not None:
            is_long = self._watchdog.sees_hang or self._loop.is_warming_up
            seconds = 0.0 if is_long else self._close_seconds
            await asyncio.to_thread(self._thread.join, seconds)
        self._fail_all(_closed_error, TaskEnd.CLOSED)

    def _require_usable(self) -> None:
        if self._is_closed:
            raise _closed_error()
        if not self.is_healthy:
            raise self._unhealthy_error()

    def _unhealthy_error(self) -> EngineError:
        pause = self._loop.next_trial - self._clock()
        if not math.isfinite(pause):  # a call hangs, and its end is unknown
            pause = LONGEST_PAUSE_SECONDS
        # One second more for the trial itself, which takes about as long as an iteration.
        retry_after = max(math.ceil(pause), 0) + 1
        return EngineError(
            "the device keeps failing; it is tried again every few seconds;"
            f" try again in {retry_after} s",
            retry_after_seconds=retry_after,
        )

    def _start(self) -> asyncio.AbstractEventLoop:
        """Start the device's thread at the first use; return the event loop of that use."""
        if self._event_loop is None:
            self._event_loop = asyncio.get_running_loop()
            # A daemon: a device that hangs must not keep the process from ending.
            self._thread = threading.Thread(target=self._loop.run, name="device", daemon=True)
            self._thread.start()
            self._watching = asyncio.create_task(self._watchdog.watch(self._thread))
        return self._event_loop

    def _send_report(self, report: IterationReport) -> None:
        """Pass a report from the device's thread to the event loop."""
        assert self._event_loop is not None, "the thread starts after it is set"
        with contextlib.suppress(RuntimeError):  # the event loop has ended: nothing awaits
            self._event_loop.call_soon_threadsafe(self._handle_report, report)

    def _handle_report(self, report: IterationReport) -> None:
        if report.health is not None:
            self._set_health(is_healthy=report.health)
        finished = [o for o in report.outcomes if o.end is TaskEnd.FINISHED]
        self.admissions.speed.add(sum(map(self._audio_seconds, finished)), report.busy_seconds)
        for outcome in report.outcomes:
            admission = self.admissions.by_recording.get(outcome.task.recording_id)
            # Otherwise it was canceled, or its device was lost, and it is already counted.
            if admission is not None and outcome.task.index in admission.futures:
                self._resolve(outcome, admission)
        self._update_queue_metric()

    def _resolve(self, outcome: TaskOutcome, admission: Admission) -> None:
        """Set the future of a task that ended."""
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
                if not future.done():  # otherwise its awaiter was canceled
                    future.set_result(outcome.generated)
            case TaskEnd.FAILED if not self.is_healthy:
                _fail(future, self._unhealthy_error())
            case TaskEnd.FAILED:
                error = EngineError(
                    "the device failed twice while it worked on this recording; try again in 1 s",
                    retry_after_seconds=1,
                )
                _fail(future, error)
            case TaskEnd.CLOSED:
                _fail(future, _closed_error())

    def _handle_hang(self) -> None:
        self._metrics.engine_failures.labels("hang").inc()
        self._loop.abandon()
        self._lose_device()

    def _lose_device(self) -> None:
        """Fail everything: the device will not report for now."""
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
        """Fail every future, each with its own error."""
        for admission in self.admissions.by_recording.values():
            self._metrics.segments.labels(end.value).inc(len(admission.futures))
            for future in admission.futures.values():
                _fail(future, make_error())
            admission.futures.clear()

    def _update_queue_metric(self) -> None:
        self._metrics.queue_audio_seconds.set(self.admissions.waiting_audio_seconds)

    def _audio_seconds(self, outcome: TaskOutcome) -> float:
        frames = outcome.task.payload.segment.frames
        return frames / self.spec.spectrogram.frames_per_second


def _closed_error() -> EngineError:
    return EngineError("the engine is closed: the server is shutting down", retry_after_seconds=1)


def _fail(future: asyncio.Future[GeneratedSegment], error: Exception) -> None:
    if future.done():  # its awaiter was canceled
        return
    future.set_exception(error)
    # Marks the exception as retrieved: of a recording's failed segments only the first is awaited.
    future.exception()
