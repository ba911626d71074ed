"""The one thread that touches the device: commands in, outcomes out.

Each visit, in this order:

1. take what lies in the inbox (tasks, cancellations), without waiting;
2. drop what has expired, and release on the device the slots of what is no longer wanted;
3. insert batch after batch, as long as the scheduler gives any;
4. let the device generate a few steps for every live slot;
5. report what ended.

So a cancelled recording leaves its slots within one visit, and a slot that became free is filled in
the next. With nothing to do the thread sleeps in the inbox. Nothing is shared with other threads
but the inbox; ``report`` is called on the device's thread.

A backend that raises has failed: every task in a slot ends as failed, what waits goes on waiting,
and the loop goes on. No task is ever forgotten: each is reported once or was cancelled.
"""

import concurrent.futures
import dataclasses
import logging
import queue
import time
from collections.abc import Callable, Iterable

from mt3_model.notes.generated import GeneratedSegment, SlotEntry
from mt3_model.notes.transcription import Decoding
from mt3_model.spectrogram.segments import Segment
from service.engine.backend import Backend
from service.engine.requests import SegmentTask, TaskEnd
from service.engine.scheduler import Scheduler
from service.observability.logging import log_event

_logger = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class SegmentWork:
    """What the device needs to know of a task."""

    segment: Segment
    decoding: Decoding


Task = SegmentTask[SegmentWork]


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Outcome:
    """A task's end."""

    task: Task
    end: TaskEnd
    inserted: float | None = None
    """When it was given its slot, on the loop's clock; absent where it never had one."""
    generated: GeneratedSegment | None = None
    """Its tokens, where it is finished."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Report:
    """What ended in a visit."""

    outcomes: tuple[Outcome, ...]
    busy_seconds: float
    """Time that the device worked since the last report."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class _Submit:
    tasks: tuple[Task, ...]


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class _Cancel:
    recording_id: int


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class _WarmUp:
    done: concurrent.futures.Future[None]


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class _Stop:
    pass


_Command = _Submit | _Cancel | _WarmUp | _Stop


class DeviceLoop:
    """Drives one backend as its scheduler says.

    `submit`, `cancel`, `warm_up` and `stop` may be called from any thread; `run`, or in a test
    `run_once`, from one.
    """

    def __init__(
        self,
        backend: Backend,
        report: Callable[[Report], None],
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Takes the backend into its sole possession.

        Args:
            backend: Called from the thread of `run` only.
            report: Told of tasks that ended; must not raise.
            clock: Seconds; deadlines are on it.
        """
        self._backend = backend
        self._report = report
        self._clock = clock
        self._scheduler: Scheduler[SegmentWork] = Scheduler(
            slots=backend.slots,
            encode_batch=backend.encode_batch,
            slow_start=backend.encode_batch,
        )
        self._inbox: queue.SimpleQueue[_Command] = queue.SimpleQueue()
        self._is_stopped = False
        self._to_release: list[int] = []
        self._inserted: dict[int, float] = {}  # by slot
        self._outcomes: list[Outcome] = []
        self._busy_seconds = 0.0
        self.failures = 0
        """How often the backend has raised."""

    def submit(self, tasks: Iterable[Task]) -> None:
        """Lets tasks wait, in their order; together, so that they can be inserted together."""
        self._inbox.put(_Submit(tasks=tuple(tasks)))

    def cancel(self, recording_id: int) -> None:
        """Forgets the recording's tasks, which are then not reported any more."""
        self._inbox.put(_Cancel(recording_id=recording_id))

    def warm_up(self) -> concurrent.futures.Future[None]:
        """Warms the backend up, on the loop's thread.

        Returns:
            Done when it is warm, with the backend's exception where it raised.
        """
        done: concurrent.futures.Future[None] = concurrent.futures.Future()
        self._inbox.put(_WarmUp(done=done))
        return done

    def stop(self) -> None:
        """Ends the loop after the running visit; tasks that are left end as closed."""
        self._inbox.put(_Stop())

    def run(self) -> None:
        """Visits the device while there is something to do, until stopped."""
        while not self._is_stopped:
            self.run_once(wait=True)

    def run_once(self, *, wait: bool = False) -> None:
        """Makes one visit.

        Args:
            wait: With nothing to do, wait for a command first.
        """
        self._take_commands(wait=wait and self._scheduler.is_idle and not self._to_release)
        try:
            self._visit()
        except Exception as error:  # noqa: BLE001 (the loop's outer edge: logged and counted)
            self._fail(error)
        if self._outcomes:
            self._report(Report(outcomes=tuple(self._outcomes), busy_seconds=self._busy_seconds))
            self._outcomes, self._busy_seconds = [], 0.0

    def _take_commands(self, *, wait: bool) -> None:
        if wait:
            self._obey(self._inbox.get())
        while True:
            try:
                command = self._inbox.get_nowait()
            except queue.Empty:
                return
            self._obey(command)

    def _obey(self, command: _Command) -> None:
        match command:
            case _Submit(tasks=tasks) if self._is_stopped:
                self._end(tasks, TaskEnd.CLOSED)
            case _Submit(tasks=tasks):
                for task in tasks:
                    self._scheduler.submit(task)
            case _Cancel(recording_id=recording_id):
                self._to_release.extend(self._scheduler.cancel(recording_id).slots)
            case _WarmUp(done=done):
                self._warm_up(done)
            case _Stop():
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

    def _visit(self) -> None:
        began = self._clock()
        expired = self._scheduler.drop_expired(began)
        self._end(expired.tasks, TaskEnd.EXPIRED)
        self._to_release.extend(expired.slots)
        if self._to_release:
            slots, self._to_release = self._to_release, []
            self._backend.release(slots)
        # One batch a visit: the slots that are taken go on meanwhile, and the first of a recording
        # to end need not wait until all slots are full.
        if batch := self._scheduler.next_batch():
            inserted = self._clock()
            self._inserted.update((assignment.slot, inserted) for assignment in batch)
            self._backend.insert(
                [
                    SlotEntry(
                        slot=assignment.slot,
                        segment=assignment.task.payload.segment,
                        decoding=assignment.task.payload.decoding,
                    )
                    for assignment in batch
                ]
            )
        if self._scheduler.running == 0:
            return
        for finished in self._backend.step():
            self._outcomes.append(
                Outcome(
                    task=self._scheduler.finish(finished.slot),
                    end=TaskEnd.FINISHED,
                    inserted=self._inserted[finished.slot],
                    generated=finished.generated,
                )
            )
        self._busy_seconds += self._clock() - began

    def _end(self, tasks: Iterable[Task], end: TaskEnd) -> None:
        self._outcomes.extend(Outcome(task=task, end=end) for task in tasks)

    def _fail(self, error: Exception) -> None:
        dropped = self._scheduler.drop_running()
        self._end(dropped.tasks, TaskEnd.FAILED)
        self.failures += 1
        log_event(
            _logger,
            "engine_failed",
            level=logging.ERROR,
            error=error,
            tasks=len(dropped.tasks),
            failures=self.failures,
        )
        self._to_release = []
        try:
            self._backend.release(range(self._backend.slots))
        except Exception as again:  # noqa: BLE001 (the loop's outer edge: logged)
            log_event(_logger, "engine_release_failed", level=logging.ERROR, error=again)
