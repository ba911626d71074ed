"""The device loop: the only thread that uses the device. It takes commands and reports outcomes.

One iteration does, in this order:

1. read the commands in the inbox (tasks, cancellations), without waiting;
2. release on the device the slots whose tasks were dropped;
3. insert one batch, if the scheduler has one;
4. run a few generation steps for every live slot;
5. report the tasks that ended.

A canceled recording therefore leaves its slots within one iteration, and a slot that became free is
filled in the next. With nothing to do the thread blocks on the inbox. Other threads share with it
only the inbox and single values read by the metrics and the watchdog; ``report`` is called on the
device's thread.

A backend that raises has failed: every task in a slot is retried once, alone. A task whose log
probabilities are not numbers is retried too, together with others. A task that fails twice ends as
failed; waiting tasks stay. When failures persist (`device_health.py`), everything ends as failed,
and the loop only runs trials of the device until one succeeds. Every task is either reported once
or canceled.
"""

import concurrent.futures
import contextlib
import logging
import queue
import threading
import time
from collections.abc import Callable, Iterable, Sequence

from mt3_model.generation.backend import Backend
from mt3_model.notes.generated import FinishedSlot, SlotEntry
from mt3_model.spec import ModelSpec
from service.engine.device_health import DeviceHealth, has_numbers_only, run_silence_trial
from service.engine.messages import (
    Cancel,
    Command,
    IterationReport,
    SegmentWork,
    Stop,
    Submit,
    Task,
    TaskOutcome,
    Wake,
    WarmUp,
)
from service.engine.scheduler import Scheduler
from service.engine.segment_tasks import Assignment, TaskEnd
from service.engine.watched_backend import DeviceCall, WatchedBackend
from service.observability.logging import log_event
from service.observability.metrics import Metrics

_logger = logging.getLogger(__name__)


class DeviceLoop:
    """Drives one backend by its scheduler.

    `submit`, `cancel`, `warm_up`, `abandon` and `stop` may be called from any thread; `run`, or
    `run_iteration` in a test, from one thread only.
    """

    def __init__(
        self,
        backend: Backend,
        report: Callable[[IterationReport], None],
        *,
        spec: ModelSpec,
        trial_seconds: float = 2.0,
        clock: Callable[[], float] = time.monotonic,
        metrics: Metrics | None = None,
    ) -> None:
        """Prepare the loop, which is from now on the only user of the backend.

        Args:
            backend: the device; called from the thread of `run` only.
            report: called with the results of each iteration; must not raise.
            spec: the model, for the segment of silence used in trials.
            trial_seconds: time from the device's becoming unhealthy to the first trial.
            clock: clock of all measurements.
            metrics: the server's metrics registry.
        """
        self._backend = WatchedBackend(backend, clock)
        self._report = report
        self._spec = spec
        self._clock = clock
        # See the scheduler's third rule: a device with few live rows is quick.
        self._scheduler: Scheduler[SegmentWork] = Scheduler(
            slots=backend.slots, encode_batch=backend.encode_batch, slow_start=backend.encode_batch
        )
        self._inbox: queue.SimpleQueue[Command] = queue.SimpleQueue()
        self._is_stopped = False
        self._to_release: list[int] = []
        self._inserted: dict[int, float] = {}  # by slot
        self._outcomes: list[TaskOutcome] = []
        self._busy_seconds = 0.0
        self._health = DeviceHealth(trial_seconds=trial_seconds)
        self._health_change: bool | None = None
        self._is_abandoned = threading.Event()
        self._oldest_submitted: float | None = None
        self.failures = 0
        """Number of device calls that raised or returned something that is not a number."""
        self._metrics = metrics or Metrics()
        self._metrics.slots.set(backend.slots)
        self._metrics.slots_used.set_function(lambda: self._scheduler.running)
        self._metrics.queue_segments.set_function(lambda: self._scheduler.waiting)
        self._metrics.queue_age_seconds.set_function(self._queue_age_seconds)

    @property
    def device_call(self) -> DeviceCall | None:
        """The backend call in progress; None while it warms up."""
        return self._backend.call

    @property
    def is_warming_up(self) -> bool:
        """Whether the backend warms up, which may take minutes."""
        return self._backend.is_warming_up

    @property
    def next_trial(self) -> float:
        """Time of the next trial of an unhealthy device, on the loop's clock."""
        return self._health.next_trial

    def submit(self, tasks: Iterable[Task]) -> None:
        """Add tasks, in order and in one message, so that they can be inserted together."""
        self._inbox.put(Submit(tasks=tuple(tasks)))

    def cancel(self, recording_id: int) -> None:
        """Drop the recording's tasks; they are no longer reported."""
        self._inbox.put(Cancel(recording_id=recording_id))

    def warm_up(self) -> concurrent.futures.Future[None]:
        """Warm the backend up on the loop's thread.

        Returns:
            A future that is done when it is warm, with the backend's exception if it raised.
        """
        done: concurrent.futures.Future[None] = concurrent.futures.Future()
        self._inbox.put(WarmUp(done=done))
        return done

    def abandon(self) -> None:
        """Abandon the call in progress and everything submitted so far.

        If the call ever returns, its result is dropped, all tasks end as failed, and the device is
        unhealthy until a trial succeeds.
        """
        self._is_abandoned.set()
        self._inbox.put(Wake())

    def stop(self) -> None:
        """End the loop after the current iteration; remaining tasks end as closed."""
        self._inbox.put(Stop())

    def run(self) -> None:
        """Run iterations while there is something to do, until stopped."""
        while not self._is_stopped:
            self.run_iteration(wait=True)

    def run_iteration(self, *, wait: bool = False) -> None:
        """Run one iteration or, for an unhealthy device whose pause is over, a trial.

        Args:
            wait: with nothing to do, wait first for a command or for the end of the pause.
        """
        self._read_commands(wait=wait and self._is_at_rest)
        if self._health.is_healthy:
            self._iterate()
        elif self._clock() >= self._health.next_trial and not self._is_stopped:
            self._run_trial()
        if self._is_abandoned.is_set():
            self._is_abandoned.clear()
            self._outcomes.clear()
            self._mark_unhealthy()
        self._oldest_submitted = self._scheduler.oldest_submitted
        if self._outcomes or self._health_change is not None:
            report = IterationReport(
                outcomes=tuple(self._outcomes),
                busy_seconds=self._busy_seconds,
                health=self._health_change,
            )
            self._outcomes, self._busy_seconds, self._health_change = [], 0.0, None
            self._report(report)

    @property
    def _is_at_rest(self) -> bool:
        return not self._health.is_healthy or (self._scheduler.is_idle and not self._to_release)

    def _queue_age_seconds(self) -> float:
        """Return the age of the oldest waiting task; called by other threads."""
        oldest = self._oldest_submitted
        return 0.0 if oldest is None else max(self._clock() - oldest, 0.0)

    def _read_commands(self, *, wait: bool) -> None:
        timeout = None
        if not self._health.is_healthy:
            timeout = max(self._health.next_trial - self._clock(), 0.0)
        with contextlib.suppress(queue.Empty):
            if wait:
                self._handle(self._inbox.get(timeout=timeout))
            while True:
                self._handle(self._inbox.get_nowait())

    def _handle(self, command: Command) -> None:
        match command:
            case Submit(tasks=tasks) if self._is_stopped:
                self._end(tasks, TaskEnd.CLOSED)
            case Submit(tasks=tasks) if not self._health.is_healthy:
                self._end(tasks, TaskEnd.FAILED)
            case Submit(tasks=tasks):
                for task in tasks:
                    self._scheduler.submit(task)
            case Cancel(recording_id=recording_id):
                self._to_release.extend(self._scheduler.cancel(recording_id).slots)
            case WarmUp(done=done):
                self._warm_up(done)
            case Wake():
                pass
            case Stop():
                self._is_stopped = True
                dropped = self._scheduler.drop_all()
                self._end(dropped.tasks, TaskEnd.CLOSED)
                self._to_release.extend(dropped.slots)

    def _warm_up(self, done: concurrent.futures.Future[None]) -> None:
        if self._is_stopped:
            done.cancel()
        if not done.set_running_or_notify_cancel():
            return
        try:
            self._backend.warm_up()
        except Exception as error:  # noqa: BLE001 (carried to the awaiting side)
            done.set_exception(error)
        else:
            done.set_result(None)

    def _iterate(self) -> None:
        before, failures = len(self._outcomes), self.failures
        try:
            self._step_device()
        except Exception as error:  # noqa: BLE001 (the loop's outer edge: logged and counted)
            self._fail(error)
        self._health.record_iteration(
            failed=self.failures > failures,
            finished=any(o.end is TaskEnd.FINISHED for o in self._outcomes[before:]),
        )
        # A trial needs an empty device; until then the running tasks show whether it works.
        if self._health.needs_trial and self._scheduler.running == 0:
            self._run_trial()

    def _step_device(self) -> None:
        began = self._clock()
        if self._to_release:
            slots, self._to_release = self._to_release, []
            self._backend.release(slots)
        # One batch per iteration: running slots continue meanwhile, and the first segments of a
        # recording can end before all slots are full.
        batch = self._scheduler.next_batch()
        self._oldest_submitted = self._scheduler.oldest_submitted
        if batch:
            self._insert(batch)
        running = self._scheduler.running
        if running == 0:
            return
        finished = self._backend.step()
        for slot in finished:
            self._finish(slot)
        seconds = self._clock() - began
        self._busy_seconds += seconds
        self._metrics.busy_seconds.inc(seconds)
        self._metrics.iteration_seconds.observe(seconds)
        self._metrics.batch_fill_ratio.observe(running / self._backend.slots)

    def _insert(self, batch: Sequence[Assignment[SegmentWork]]) -> None:
        inserted = self._clock()
        for assignment in batch:
            self._inserted[assignment.slot] = inserted
            if assignment.task.attempt == 0:
                waited = inserted - assignment.task.submitted
                self._metrics.segment_queue_seconds.observe(waited)
        entries = [
            SlotEntry(
                slot=assignment.slot,
                segment=assignment.task.payload.segment,
                decoding=assignment.task.payload.decoding,
                forbidden=assignment.task.payload.forbidden,
            )
            for assignment in batch
        ]
        self._backend.insert(entries)

    def _finish(self, finished: FinishedSlot) -> None:
        """End the slot's task, or retry it if its log probabilities are not numbers."""
        if has_numbers_only(finished.generated):
            task = self._scheduler.finish(finished.slot)
            outcome = TaskOutcome(
                task=task,
                end=TaskEnd.FINISHED,
                inserted=self._inserted[finished.slot],
                generated=finished.generated,
            )
            self._outcomes.append(outcome)
            return
        given_up = self._scheduler.retry(finished.slot)
        self._record_failure("not_a_number")
        if given_up is None:
            self._metrics.segment_retries.inc()
        else:
            self._end([given_up], TaskEnd.FAILED)
        log_event(
            _logger,
            "segment_not_a_number",
            level=logging.ERROR,
            is_given_up=given_up is not None,
            failures=self.failures,
        )

    def _end(self, tasks: Iterable[Task], end: TaskEnd) -> None:
        self._outcomes.extend(TaskOutcome(task=task, end=end) for task in tasks)

    def _record_failure(self, kind: str) -> None:
        self.failures += 1
        self._metrics.engine_failures.labels(kind).inc()

    def _fail(self, error: Exception) -> None:
        dropped = self._scheduler.retry_running()
        self._end(dropped.tasks, TaskEnd.FAILED)
        self._metrics.segment_retries.inc(len(dropped.slots) - len(dropped.tasks))
        self._record_failure("exception")
        log_event(
            _logger,
            "engine_failed",
            level=logging.ERROR,
            error=error,
            tasks=len(dropped.slots),
            given_up=len(dropped.tasks),
            failures=self.failures,
        )
        self._to_release = []
        try:
            self._backend.release(range(self._backend.slots))
        except Exception as again:  # noqa: BLE001 (the loop's outer edge: logged)
            log_event(_logger, "engine_release_failed", level=logging.ERROR, error=again)

    def _run_trial(self) -> None:
        """Generate a segment of silence, and set the device's health by the result."""
        self._to_release = []
        try:
            run_silence_trial(self._backend, self._spec)
        except Exception as error:  # noqa: BLE001 (the loop's outer edge: logged)
            log_event(_logger, "engine_trial_failed", level=logging.ERROR, error=error)
            self._mark_unhealthy()
            return
        if not self._health.is_healthy:
            self._health_change = True
            log_event(_logger, "engine_recovered")
        self._health.mark_healthy()

    def _mark_unhealthy(self) -> None:
        """Fail everything, now and until a trial succeeds."""
        dropped = self._scheduler.drop_all()
        self._end(dropped.tasks, TaskEnd.FAILED)
        if self._health.is_healthy:
            log_event(_logger, "engine_given_up", level=logging.ERROR, tasks=len(dropped.tasks))
        self._health.mark_unhealthy(self._clock())
        self._health_change = False
