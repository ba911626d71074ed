"""Who gets a slot: a pure state machine over tasks, slots and the time it is told.

Four rules:

1. Recordings take turns. Those with waiting tasks stand in a ring; each gives its first task and
   goes to the end. So between two tasks of a waiting recording every other recording has at most
   one: three minutes of music never wait for another's two hours, and a task that is k-th in its
   recording waits for at most k times the number of recordings.
2. A batch is inserted when ``free >= min(encode_batch, waiting)``. The encoder's batch has a fixed
   shape, so that encoding one segment costs as much as encoding ``encode_batch``: with few free
   slots and many waiting tasks it pays to wait for a full batch, and slots do become free, because
   every generation ends. With fewer waiting tasks than that, nothing else would come to fill the
   batch: they go at once. An idle device has all its slots free, so that nothing can be stuck.
3. A recording starts slowly: while its first task runs, only its first ``slow_start`` tasks may
   run. A device with few live rows is quick, so that a recording that comes to an idle one has its
   first notes four times as soon; the rest follows at full width. Under load it changes nothing:
   others fill the slots.
4. A dropped task (cancelled, expired, failed) is gone at once and never comes back, and its slot is
   free at once: the caller releases the slots it is told of before it asks for the next batch.

No threads, no clock, no device: `loop.py` drives it, and a test can too.
"""

import collections
import heapq
import itertools
import math
from collections.abc import Callable
from typing import Generic

from service.engine.requests import Assignment, Dropped, PayloadT, SegmentTask


class Scheduler(Generic[PayloadT]):
    """Gives the slots of one device to the tasks of many recordings."""

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
        # In the order of the ring; no queue is empty.
        self._waiting: dict[int, collections.deque[SegmentTask[PayloadT]]] = {}
        self._running: dict[int, SegmentTask[PayloadT]] = {}
        self._starting: set[int] = set()  # recordings whose first task runs
        # No task's deadline is before it, so that most visits need not look at any.
        self._earliest_deadline = math.inf

    @property
    def waiting(self) -> int:
        """Tasks without a slot."""
        return sum(len(queue) for queue in self._waiting.values())

    @property
    def running(self) -> int:
        """Tasks in a slot."""
        return len(self._running)

    @property
    def is_idle(self) -> bool:
        """Whether there is no task at all."""
        return not self._waiting and not self._running

    def submit(self, task: SegmentTask[PayloadT]) -> None:
        """Lets a task wait behind its recording's others."""
        self._waiting.setdefault(task.recording_id, collections.deque()).append(task)
        if task.deadline is not None:
            self._earliest_deadline = min(self._earliest_deadline, task.deadline)

    def next_batch(self) -> list[Assignment[PayloadT]]:
        """Gives free slots to the tasks whose turn it is.

        Returns:
            1 to ``encode_batch`` tasks, now running; empty when none may run, or when it is better
            to wait for more free slots. Asked again until empty, it fills the device.
        """
        size = min(self._encode_batch, sum(map(self._count_ready, self._waiting)))
        if len(self._free) < size:
            return []
        return [self._assign_next() for _ in range(size)]

    def finish(self, slot: int) -> SegmentTask[PayloadT]:
        """Frees the slot of a task that ended by itself.

        Returns:
            The task.
        """
        assert slot in self._running, f"slot {slot} runs no task"
        heapq.heappush(self._free, slot)
        task = self._running.pop(slot)
        if task.index == 0:
            self._starting.discard(task.recording_id)
        return task

    def cancel(self, recording_id: int) -> Dropped[PayloadT]:
        """Drops all tasks of a recording."""
        return self._drop(lambda task: task.recording_id == recording_id)

    def drop_expired(self, now: float) -> Dropped[PayloadT]:
        """Drops the tasks whose deadline has passed, running ones too."""
        if now < self._earliest_deadline:
            return Dropped(tasks=(), slots=())
        dropped = self._drop(lambda task: task.deadline is not None and task.deadline <= now)
        left = itertools.chain(self._running.values(), *self._waiting.values())
        deadlines = (task.deadline for task in left if task.deadline is not None)
        self._earliest_deadline = min(deadlines, default=math.inf)
        return dropped

    def drop_running(self) -> Dropped[PayloadT]:
        """Drops what is in the slots; what waits goes on waiting."""
        slots = tuple(sorted(self._running))
        return Dropped(tasks=tuple(self.finish(slot) for slot in slots), slots=slots)

    def drop_all(self) -> Dropped[PayloadT]:
        """Drops every task."""
        return self._drop(lambda _: True)

    def _count_ready(self, recording_id: int) -> int:
        """Tasks of a waiting recording that may be given a slot now, up to ``encode_batch``."""
        queue = self._waiting[recording_id]
        starts = recording_id in self._starting or queue[0].index == 0
        first = itertools.islice(queue, self._encode_batch)
        return sum(not starts or task.index < self._slow_start for task in first)

    def _assign_next(self) -> Assignment[PayloadT]:
        recording_id = next(filter(self._count_ready, self._waiting))
        queue = self._waiting.pop(recording_id)
        task = queue.popleft()
        if queue:
            self._waiting[recording_id] = queue  # at the end of the ring
        slot = heapq.heappop(self._free)
        self._running[slot] = task
        if task.index == 0:
            self._starting.add(recording_id)
        return Assignment(slot=slot, task=task)

    def _drop(self, is_dropped: Callable[[SegmentTask[PayloadT]], bool]) -> Dropped[PayloadT]:
        tasks: list[SegmentTask[PayloadT]] = []
        for recording_id, queue in list(self._waiting.items()):
            dropped = [task for task in queue if is_dropped(task)]
            if not dropped:
                continue
            tasks.extend(dropped)
            kept = collections.deque(task for task in queue if not is_dropped(task))
            if kept:
                self._waiting[recording_id] = kept  # keeps its place in the ring
            else:
                del self._waiting[recording_id]
        slots = tuple(sorted(slot for slot, task in self._running.items() if is_dropped(task)))
        tasks.extend(self.finish(slot) for slot in slots)
        return Dropped(tasks=tuple(tasks), slots=slots)
