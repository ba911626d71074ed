"""Who gets a slot: a pure state machine over tasks, slots and the time it is told.

Five rules:

1. Callers take turns, and each caller's recordings take turns for its turns. Callers with tasks
   that may run stand in a ring; the first one's first recording gives a task, then both go to the
   end of their rings. So between two tasks of a waiting caller every other caller has at most one,
   however many recordings it has; and between two tasks of a waiting recording every other one of
   its caller has at most one. Three minutes of music never wait for another's hundred hours.
2. A batch is inserted when ``free >= min(encode_batch, waiting)``. The encoder's batch has a fixed
   shape, so that encoding one segment costs as much as encoding ``encode_batch``: with few free
   slots and many waiting tasks it pays to wait for a full batch, and slots do become free, because
   every generation ends. With fewer waiting tasks than that, nothing else would come to fill the
   batch: they go at once. An idle device has all its slots free, so that nothing can be stuck.
3. A recording starts slowly: while its first task runs, only its first ``slow_start`` tasks may
   run. A device with few live rows is quick, so that a recording that comes to an idle one has its
   first notes four times as soon; the rest follows at full width. Under load it changes nothing:
   others fill the slots. A recording whose next task may not run is out of the ring until it may.
4. A dropped task (cancelled, expired, failed) is gone at once and never comes back, and its slot is
   free at once: the caller releases the slots it is told of before it asks for the next batch.
5. A task that failed is tried once more. Where the device failed, any task in its slots may be the
   reason: they all run again before anything else, each alone on the device, so that one that
   always makes it fail is found and takes nobody with it. A task that failed by itself
   goes back to its place in its recording's queue, before all that have not run yet, and runs in
   company.

The work of a call grows with the encoder's batch and the slots, not with what waits. No threads, no
clock, no device: `loop.py` drives it, and a test can too.
"""

import collections
import dataclasses
import heapq
import itertools
import math
from collections.abc import Callable, Iterable
from typing import Generic

from service.engine.segment_tasks import Assignment, Dropped, PayloadT, SegmentTask


@dataclasses.dataclass(kw_only=True, slots=True)
class _Queue(Generic[PayloadT]):
    """A recording's waiting tasks; never empty."""

    caller: str
    tasks: collections.deque[SegmentTask[PayloadT]]


class Scheduler(Generic[PayloadT]):
    """Gives the slots of one device to the tasks of many recordings of many callers."""

    def __init__(self, *, slots: int, encode_batch: int, slow_start: int | None = None) -> None:
        """Starts with all slots free.

        Args:
            slots: R in all; they are named 0 .. R - 1.
            encode_batch: Most tasks of one batch.
            slow_start: Tasks of a recording that may run while its first one does; absent: all.
        """
        self._encode_batch = min(encode_batch, slots)
        self._slow_start = math.inf if slow_start is None else slow_start
        self._free = list(range(slots))  # a heap: the lowest slot is given first
        self._queues: dict[int, _Queue[PayloadT]] = {}  # by recording
        # The ring of callers, each with the ring of its recordings whose next task may run.
        self._turns: collections.OrderedDict[str, collections.OrderedDict[int, None]] = (
            collections.OrderedDict()
        )
        self._again: collections.deque[SegmentTask[PayloadT]] = collections.deque()  # each alone
        self._running: dict[int, SegmentTask[PayloadT]] = {}
        self._alone: int | None = None  # the slot of a task that runs alone
        self._starting: set[int] = set()  # recordings whose first task runs
        self._waiting = 0
        # (deadline, recording), each once; a heap beside it gives the earliest.
        self._deadlines: set[tuple[float, int]] = set()
        self._by_deadline: list[tuple[float, int]] = []

    @property
    def waiting(self) -> int:
        """Tasks without a slot."""
        return self._waiting

    @property
    def running(self) -> int:
        """Tasks in a slot."""
        return len(self._running)

    @property
    def is_idle(self) -> bool:
        """Whether there is no task at all."""
        return not self._waiting and not self._running

    @property
    def oldest_submitted(self) -> float | None:
        """When the task that has waited longest was submitted; None when none waits."""
        heads = (queue.tasks[0] for queue in self._queues.values())
        return min((task.submitted for task in (*heads, *self._again)), default=None)

    def submit(self, task: SegmentTask[PayloadT]) -> None:
        """Lets a task wait behind its recording's others."""
        self._queue_of(task).append(task)
        self._waiting += 1
        self._take_or_leave_turn(task)
        if task.deadline is not None:
            entry = task.deadline, task.recording_id
            if entry not in self._deadlines:
                self._deadlines.add(entry)
                heapq.heappush(self._by_deadline, entry)

    def next_batch(self) -> list[Assignment[PayloadT]]:
        """Gives free slots to the tasks whose turn it is.

        Returns:
            1 to ``encode_batch`` tasks, now running; empty when none may run, or when it is better
            to wait for more free slots. Asked again until empty, it fills the device.
        """
        if self._alone is not None or (self._again and self._running):
            return []
        if self._again:
            self._waiting -= 1
            assignment = self._run(self._again.popleft())
            self._alone = assignment.slot
            return [assignment]
        size = self._count_ready()
        if len(self._free) < size:
            return []
        return [self._assign_next() for _ in range(size)]

    def finish(self, slot: int) -> SegmentTask[PayloadT]:
        """Frees the slot of a task that ended by itself.

        Returns:
            The task.
        """
        task = self._free_slot(slot)
        if task.index == 0:
            self._take_or_leave_turn(task)
        return task

    def retry(self, slot: int) -> SegmentTask[PayloadT] | None:
        """Frees the slot of a task that failed by itself, and lets it be tried once more.

        Returns:
            The task, where this was the second time: it is dropped. Otherwise None.
        """
        task = self.finish(slot)
        if task.attempt > 0:
            return task
        queue = self._queue_of(task)
        earlier = itertools.takewhile(lambda other: other.index < task.index, queue)
        place = sum(1 for _ in earlier)  # those that failed as well: the others ran before it
        queue.insert(place, dataclasses.replace(task, attempt=task.attempt + 1))
        self._waiting += 1
        self._take_or_leave_turn(task)
        return None

    def retry_running(self) -> Dropped[PayloadT]:
        """Frees all slots, because any task in them may have made the device fail.

        Returns:
            All slots, and the tasks for which this was the second time. The others wait, each to
            be tried once more, alone.
        """
        slots = tuple(sorted(self._running))
        tasks = [self.finish(slot) for slot in slots]
        again = [task for task in tasks if task.attempt == 0]
        self._again.extend(dataclasses.replace(task, attempt=1) for task in again)
        self._waiting += len(again)
        return Dropped(tasks=tuple(task for task in tasks if task.attempt > 0), slots=slots)

    def cancel(self, recording_id: int) -> Dropped[PayloadT]:
        """Drops all tasks of a recording."""
        return self._drop([recording_id], lambda _: True)

    def drop_expired(self, now: float) -> Dropped[PayloadT]:
        """Drops the tasks whose deadline has passed, running ones too."""
        due: dict[int, None] = {}
        while self._by_deadline and self._by_deadline[0][0] <= now:
            entry = heapq.heappop(self._by_deadline)
            self._deadlines.discard(entry)
            due[entry[1]] = None
        return self._drop(due, lambda task: task.deadline is not None and task.deadline <= now)

    def drop_all(self) -> Dropped[PayloadT]:
        """Drops every task."""
        elsewhere = (task.recording_id for task in (*self._again, *self._running.values()))
        return self._drop(dict.fromkeys((*self._queues, *elsewhere)), lambda _: True)

    def _queue_of(self, task: SegmentTask[PayloadT]) -> collections.deque[SegmentTask[PayloadT]]:
        """The queue that the task is about to enter."""
        queue = self._queues.get(task.recording_id)
        if queue is None:
            queue = _Queue(caller=task.caller, tasks=collections.deque[SegmentTask[PayloadT]]())
            self._queues[task.recording_id] = queue
        assert queue.caller == task.caller, "a recording has one caller"
        return queue.tasks

    def _may_run(self, recording_id: int, task: SegmentTask[PayloadT]) -> bool:
        return recording_id not in self._starting or task.index < self._slow_start

    def _take_or_leave_turn(self, task: SegmentTask[PayloadT]) -> None:
        """Puts the task's recording at the end of the ring, leaves it there, or takes it out."""
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
        """Tasks that may be given a slot now, up to ``encode_batch``."""
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
        self._take_or_leave_turn(task)
        return assignment

    def _run(self, task: SegmentTask[PayloadT]) -> Assignment[PayloadT]:
        slot = heapq.heappop(self._free)
        self._running[slot] = task
        if task.index == 0:
            self._starting.add(task.recording_id)
        return Assignment(slot=slot, task=task)

    def _free_slot(self, slot: int) -> SegmentTask[PayloadT]:
        """Frees a slot; whether its recording's other tasks may run now is not looked at yet."""
        assert slot in self._running, f"slot {slot} runs no task"
        heapq.heappush(self._free, slot)
        task = self._running.pop(slot)
        if slot == self._alone:
            self._alone = None
        if task.index == 0:
            self._starting.discard(task.recording_id)
        return task

    def _drop(
        self, recording_ids: Iterable[int], is_dropped: Callable[[SegmentTask[PayloadT]], bool]
    ) -> Dropped[PayloadT]:
        """Drops those tasks of some recordings for which ``is_dropped``."""
        recordings = dict.fromkeys(recording_ids)
        if not recordings:
            return Dropped(tasks=(), slots=())

        def goes(task: SegmentTask[PayloadT]) -> bool:
            return task.recording_id in recordings and is_dropped(task)

        tasks = [task for task in self._again if goes(task)]
        self._again = collections.deque(task for task in self._again if not goes(task))
        for recording_id in recordings:
            queue = self._queues.get(recording_id)
            if queue is not None:
                tasks.extend(task for task in queue.tasks if goes(task))
                queue.tasks = collections.deque(task for task in queue.tasks if not goes(task))
                if not queue.tasks:
                    del self._queues[recording_id]
        self._waiting -= len(tasks)
        slots = tuple(sorted(slot for slot, task in self._running.items() if goes(task)))
        tasks.extend(self._free_slot(slot) for slot in slots)
        # Turns last: a recording that may go on keeps its place, though its first task went.
        for task in {task.recording_id: task for task in tasks}.values():
            self._take_or_leave_turn(task)
        return Dropped(tasks=tuple(tasks), slots=slots)
