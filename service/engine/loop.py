"""The one thread that touches the device: commands in, outcomes out.

Each visit, in this order:

1. take what lies in the inbox (tasks, cancellations), without waiting;
2. drop what has expired, and release on the device the slots of what is no longer wanted;
3. insert one batch, where the scheduler gives one;
4. let the device generate a few steps for every live slot;
5. report what ended.

So a cancelled recording leaves its slots within one visit, and a slot that became free is filled in
the next. With nothing to do the thread sleeps in the inbox. Nothing is shared with other threads
but the inbox, and single values that the metrics and the watchdog read; ``report`` is called on
the device's thread.

A backend that raises has failed: every task in a slot is retried once, alone. A task whose log
probabilities are not numbers is retried too, in company. A task that fails twice ends as failed;
waiting tasks stay. When failures persist (`device_health.py`), everything ends as failed, and the
loop only runs trials of the device until one succeeds. Every task is reported once or canceled.
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
    """Drives one backend as its scheduler says.

    `submit`, `cancel`, `warm_up`, `abandon` and `stop` may be called from any thread; `run`, or in
    a test `run_iteration`, from one.
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
        """Takes the backend into its sole possession.

        Args:
            backend: Called from the thread of `run` only.
            report: Told of tasks that ended; must not raise.
            spec: Of the model, for the silence by which a failing device is tried.
            trial_seconds: From the device's being given up to the first such trial.
            clock: Of the tasks' deadlines.
            metrics: Of the server.
        """
        self._backend = WatchedBackend(backend, clock)
        self._report = report
        self._spec = spec
        self._clock = clock
        # The device starts with a batch of rows, which are quick; see the scheduler's third rule.
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
        """How often the backend has raised, or given something that is not a number."""
        self._metrics = metrics or Metrics()
        self._metrics.slots.set(backend.slots)
        self._metrics.slots_used.set_function(lambda: self._scheduler.running)
        self._metrics.queue_segments.set_function(lambda: self._scheduler.waiting)
        self._metrics.queue_age_seconds.set_function(self._queue_age_seconds)

    @property
    def device_call(self) -> DeviceCall | None:
        """The backend's call under way, warming up apart."""
        return self._backend.call

    @property
    def next_trial(self) -> float:
        """When an unhealthy device is tried again, on the loop's clock."""
        return self._health.next_trial

    def submit(self, tasks: Iterable[Task]) -> None:
        """Lets tasks wait, in their order; together, so that they can be inserted together."""
        self._inbox.put(Submit(tasks=tuple(tasks)))

    def cancel(self, recording_id: int) -> None:
        """Forgets the recording's tasks, which are then not reported any more."""
        self._inbox.put(Cancel(recording_id=recording_id))

    def warm_up(self) -> concurrent.futures.Future[None]:
        """Warms the backend up, on the loop's thread.

        Returns:
            Done when it is warm, with the backend's exception where it raised.
        """
        done: concurrent.futures.Future[None] = concurrent.futures.Future()
        self._inbox.put(WarmUp(done=done))
        return done

    def abandon(self) -> None:
        """Gives up the call under way and everything submitted so far, for which nobody waits.

        Should the call ever return, what it gave is dropped, all tasks end as failed, and the
        device is unhealthy until a trial succeeds.
        """
        self._is_abandoned.set()
        self._inbox.put(Wake())

    def stop(self) -> None:
        """Ends the loop after the running visit; tasks that are left end as closed."""
        self._inbox.put(Stop())

    def run(self) -> None:
        """Visits the device while there is something to do, until stopped."""
        while not self._is_stopped:
            self.run_iteration(wait=True)

    def run_iteration(self, *, wait: bool = False) -> None:
        """Makes one visit, or when it is time a trial of an unhealthy device.

        Args:
            wait: With nothing to do, wait for a command first, or for that time.
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
        """Grows while nothing happens; read by other threads."""
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
        # Only an empty device can be tried; what still runs will say more of it by ending.
        if self._health.needs_trial and self._scheduler.running == 0:
            self._run_trial()

    def _step_device(self) -> None:
        began = self._clock()
        expired = self._scheduler.drop_expired(began)
        self._end(expired.tasks, TaskEnd.EXPIRED)
        self._to_release.extend(expired.slots)
        if self._to_release:
            slots, self._to_release = self._to_release, []
            self._backend.release(slots)
        # One batch a visit: the slots that are taken go on meanwhile, and the first of a recording
        # to end need not wait until all slots are full.
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
        self._metrics.visit_seconds.observe(seconds)
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
            )
            for assignment in batch
        ]
        self._backend.insert(entries)

    def _finish(self, finished: FinishedSlot) -> None:
        """Ends the slot's task, or lets it be tried again where its numbers are none."""
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
        """Has silence generated, and judges by that."""
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
        """Ends everything as failed, until a trial succeeds."""
        dropped = self._scheduler.drop_all()
        self._end(dropped.tasks, TaskEnd.FAILED)
        if self._health.is_healthy:
            log_event(_logger, "engine_given_up", level=logging.ERROR, tasks=len(dropped.tasks))
        self._health.mark_unhealthy(self._clock())
        self._health_change = False
