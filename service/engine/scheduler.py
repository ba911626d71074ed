"""The scheduler: a pure state machine that assigns the device's slots to waiting tasks.

Five rules:

1. Callers take turns, and the recordings of each caller share its turns. Callers with tasks that
   may run form a ring. The first caller's first recording provides a task, then both go to the end
   of their rings. So between two tasks of a waiting caller every other caller has at most one,
   however many recordings it has; and between two tasks of a waiting recording every other one of
   its caller has at most one. Three minutes of music never wait for another caller's hundred hours.
2. A batch is inserted when ``free >= min(encode_batch, waiting)``. The encoder's batch has a fixed
   shape: encoding one segment costs as much as encoding ``encode_batch``. With few free slots and
   many waiting tasks it pays to wait for a full batch, and slots do become free, because every
   generation ends. With fewer waiting tasks nothing else would fill the batch: they start at once.
   An idle device has all its slots free, so that nothing can be stuck.
3. A recording starts slowly: while its first task runs, only its first ``slow_start`` tasks may
   run. A device with few live rows is fast, so a recording on an idle device gets its first notes
   in a quarter of the time; the rest follows at full width. Under load the rule changes
   nothing: others fill the slots. A recording whose next task may not run is out of the ring until
   it may.
4. A dropped task (canceled or failed) is removed at once and never returns, and its slot is free at
   once: the caller releases the returned slots on the device before it requests the next batch.
5. A failed task is retried once. After a failure of the device any task in its slots may be the
   cause: they all run again before anything else, each alone on the device, so that a task that
   always makes it fail is found and does not affect the others. A task that failed by itself goes
   back to its place in its recording's queue, before the tasks that have not run yet, and runs
   together with others.

The work of a call grows with the encoder's batch and the slots, not with the number of waiting
tasks. No threads, no clock, no device: `loop.py` drives the scheduler, and a test can too.
"""

import collections
import dataclasses
import heapq
import itertools
import math
from collections.abc import Iterable
from typing import Generic

from service.engine.segment_tasks import Assignment, Dropped, PayloadT, SegmentTask


@dataclasses.dataclass(kw_only=True, slots=True)
class _Queue(Generic[PayloadT]):
    """The waiting tasks of a recording; never empty."""

    caller: str
    tasks: collections.deque[SegmentTask[PayloadT]]


class Scheduler(Generic[PayloadT]):
    """Assigns the slots of one device to the tasks of many recordings of many callers."""

    def __init__(self, *, slots: int, encode_batch: int, slow_start: int | None = None) -> None:
        """Start with all slots free.

        Args:
            slots: number of slots R; they are numbered 0 .. R - 1.
            encode_batch: maximum number of tasks of one batch.
            slow_start: tasks of a recording that may run while its first one does; None: all.
        """
        self._encode_batch = min(encode_batch, slots)
        self._slow_start = math.inf if slow_start is None else slow_start
        self._free = list(range(slots))  # a heap: the lowest slot is assigned first
        self._queues: dict[int, _Queue[PayloadT]] = {}  # by recording
        # The ring of callers, each with the ring of its recordings whose next task may run.
        self._turns: collections.OrderedDict[str, collections.OrderedDict[int, None]] = (
            collections.OrderedDict()
        )
        self._retries: collections.deque[SegmentTask[PayloadT]] = collections.deque()  # each alone
        self._running: dict[int, SegmentTask[PayloadT]] = {}
        self._alone: int | None = None  # the slot of a task that runs alone
        self._starting: set[int] = set()  # recordings whose first task runs
        self._waiting = 0

    @property
    def waiting(self) -> int:
        """Number of tasks without a slot."""
        return self._waiting

    @property
    def running(self) -> int:
        """Number of tasks in a slot."""
        return len(self._running)

    @property
    def is_idle(self) -> bool:
        """Whether there are no tasks."""
        return not self._waiting and not self._running

    @property
    def oldest_submitted(self) -> float | None:
        """Submission time of the task that has waited longest; None if none waits."""
        heads = (queue.tasks[0] for queue in self._queues.values())
        return min((task.submitted for task in (*heads, *self._retries)), default=None)

    def submit(self, task: SegmentTask[PayloadT]) -> None:
        """Append a task to its recording's queue."""
        self._queue_of(task).append(task)
        self._waiting += 1
        self._update_turn(task)

    def next_batch(self) -> list[Assignment[PayloadT]]:
        """Assign free slots to the tasks whose turn it is.

        Returns:
            1 to ``encode_batch`` tasks, now running; empty if none may run, or if it is better to
            wait for more free slots. Repeated until empty, it fills the device.
        """
        if self._alone is not None or (self._retries and self._running):
            return []
        if self._retries:
            self._waiting -= 1
            assignment = self._run(self._retries.popleft())
            self._alone = assignment.slot
            return [assignment]
        size = self._count_ready()
        if len(self._free) < size:
            return []
        return [self._assign_next() for _ in range(size)]

    def finish(self, slot: int) -> SegmentTask[PayloadT]:
        """Free the slot of a finished task, and return the task."""
        task = self._free_slot(slot)
        if task.index == 0:
            self._update_turn(task)
        return task

    def retry(self, slot: int) -> SegmentTask[PayloadT] | None:
        """Free the slot of a task that failed by itself, and queue it for one more attempt.

        Returns:
            The task if this was the second failure: it is dropped. Otherwise None.
        """
        task = self.finish(slot)
        if task.attempt > 0:
            return task
        queue = self._queue_of(task)
        earlier = itertools.takewhile(lambda other: other.index < task.index, queue)
        place = sum(1 for _ in earlier)  # only others that failed: all else before it has run
        queue.insert(place, dataclasses.replace(task, attempt=task.attempt + 1))
        self._waiting += 1
        self._update_turn(task)
        return None

    def retry_running(self) -> Dropped[PayloadT]:
        """Free all slots after a failure of the device, which any task in them may have caused.

        Returns:
            All slots, and the tasks that failed for the second time. The others wait for one more
            attempt, each alone.
        """
        slots = tuple(sorted(self._running))
        tasks = [self.finish(slot) for slot in slots]
        again = [task for task in tasks if task.attempt == 0]
        self._retries.extend(dataclasses.replace(task, attempt=1) for task in again)
        self._waiting += len(again)
        return Dropped(tasks=tuple(task for task in tasks if task.attempt > 0), slots=slots)

    def cancel(self, recording_id: int) -> Dropped[PayloadT]:
        """Drop all tasks of a recording."""
        return self._drop([recording_id])

    def drop_all(self) -> Dropped[PayloadT]:
        """Drop every task."""
        elsewhere = (task.recording_id for task in (*self._retries, *self._running.values()))
        return self._drop((*self._queues, *elsewhere))

    def _queue_of(self, task: SegmentTask[PayloadT]) -> collections.deque[SegmentTask[PayloadT]]:
        """Return the queue for a task, new if its recording has none."""
        queue = self._queues.get(task.recording_id)
        if queue is None:
            queue = _Queue(caller=task.caller, tasks=collections.deque[SegmentTask[PayloadT]]())
            self._queues[task.recording_id] = queue
        assert queue.caller == task.caller, "a recording has one caller"
        return queue.tasks

    def _may_run(self, recording_id: int, task: SegmentTask[PayloadT]) -> bool:
        return recording_id not in self._starting or task.index < self._slow_start

    def _update_turn(self, task: SegmentTask[PayloadT]) -> None:
        """Add the task's recording to the ring or remove it, by whether its next task may run."""
        recording_id, caller = task.recording_id, task.caller
        queue = self._queues.get(recording_id)
        if queue is not None and self._may_run(recording_id, queue.tasks[0]):
            recordings = self._turns.setdefault(caller, collections.OrderedDict())
            recordings.setdefault(recording_id)
        elif caller in self._turns:
            self._turns[caller].pop(recording_id, None)
            if not self._turns[caller]:
                del self._turns[caller]

    def _count_ready(self) -> int:
        """Count the tasks that may get a slot now, up to ``encode_batch``."""
        ready = 0
        for recording_id in itertools.chain.from_iterable(self._turns.values()):
            tasks = self._queues[recording_id].tasks
            first = itertools.islice(tasks, self._encode_batch - ready)
            if recording_id in self._starting or tasks[0].index == 0:
                first = itertools.takewhile(lambda task: task.index < self._slow_start, first)
            ready += sum(1 for _ in first)
            if ready == self._encode_batch:
                break
        return ready

    def _assign_next(self) -> Assignment[PayloadT]:
        caller, recordings = next(iter(self._turns.items()))
        recording_id = next(iter(recordings))
        tasks = self._queues[recording_id].tasks
        task = tasks.popleft()
        self._waiting -= 1
        if not tasks:
            del self._queues[recording_id]
        self._turns.move_to_end(caller)
        recordings.move_to_end(recording_id)
        assignment = self._run(task)
        self._update_turn(task)
        return assignment

    def _run(self, task: SegmentTask[PayloadT]) -> Assignment[PayloadT]:
        slot = heapq.heappop(self._free)
        self._running[slot] = task
        if task.index == 0:
            self._starting.add(task.recording_id)
        return Assignment(slot=slot, task=task)

    def _free_slot(self, slot: int) -> SegmentTask[PayloadT]:
        """Free a slot; the caller updates the recording's turn afterwards."""
        assert slot in self._running, f"slot {slot} runs no task"
        heapq.heappush(self._free, slot)
        task = self._running.pop(slot)
        if slot == self._alone:
            self._alone = None
        if task.index == 0:
            self._starting.discard(task.recording_id)
        return task

    def _drop(self, recording_ids: Iterable[int]) -> Dropped[PayloadT]:
        """Drop all tasks of some recordings."""
        recordings = set(recording_ids)
        tasks = [task for task in self._retries if task.recording_id in recordings]
        self._retries = collections.deque(
            task for task in self._retries if task.recording_id not in recordings
        )
        for recording_id in recordings:
            queue = self._queues.pop(recording_id, None)
            if queue is not None:
                tasks.extend(queue.tasks)
        self._waiting -= len(tasks)
        slots = tuple(
            sorted(slot for slot, task in self._running.items() if task.recording_id in recordings)
        )
        tasks.extend(self._free_slot(slot) for slot in slots)
        for task in tasks:
            self._update_turn(task)
        return Dropped(tasks=tuple(tasks), slots=slots)
