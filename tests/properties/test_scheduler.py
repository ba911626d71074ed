"""Test the scheduler as a state machine, and the device loop with arbitrary mixtures of recordings.

The machine keeps its own model: the waiting tasks of each recording in order, the tasks to retry,
and the task in each slot. After every rule, no slot holds two tasks; no task is lost, or runs after
its end; a task retried after a device failure runs alone; and turns are fair between callers, and
between the recordings of one caller.
"""

import collections
import dataclasses
import itertools

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from mt3_model.spec import MT3
from mt3_model.spectrogram.segments import Segment
from service.engine.fake_backend import FakeBackend
from service.engine.loop import DeviceLoop
from service.engine.messages import SegmentWork
from service.engine.scheduler import Scheduler
from service.engine.segment_tasks import SegmentTask, TaskEnd
from tests.examples import examples

RECORDINGS = st.integers(0, 6)
CALLERS = ("x", "y", "x", "x", "z", "y", "x")
"""The caller of each recording."""


class SchedulerMachine(RuleBasedStateMachine):
    @initialize(
        slots=st.integers(1, 6),
        encode_batch=st.integers(1, 8),
        slow_start=st.none() | st.integers(1, 4),
    )
    def start(self, slots, encode_batch, slow_start):
        self.scheduler = Scheduler(slots=slots, encode_batch=encode_batch, slow_start=slow_start)
        self.slow_start = slow_start or 1_000
        self.slots, self.encode_batch = slots, min(encode_batch, slots)
        self.submitted = collections.Counter()  # tasks by recording, over all time
        self.waiting = collections.defaultdict(list)  # recording -> tasks in order
        self.running = {}  # slot -> task
        self.gone = set()  # (recording, index) of all that ended
        self.again = []  # tasks to retry alone, in order
        self.alone = None  # the slot of a task that runs alone
        # While this recording, or caller, waits: how often each other one was served.
        self.served_meanwhile = collections.defaultdict(collections.Counter)
        self.caller_served_meanwhile = collections.defaultdict(collections.Counter)

    @rule(recording=RECORDINGS, count=st.integers(1, 5))
    def submit(self, recording, count):
        for _ in range(count):
            task = SegmentTask(
                recording_id=recording,
                index=self.submitted[recording],
                payload=None,
                caller=CALLERS[recording],
            )
            self.submitted[recording] += 1
            self.waiting[recording].append(task)
            self.scheduler.submit(task)
        self.reset_counts_of_idle()

    @rule()
    def next_batch(self):
        free = self.slots - len(self.running)
        ready = sum(map(self.count_ready, range(len(CALLERS))))
        first = self.again[0] if self.again else None
        batch = self.scheduler.next_batch()
        if self.alone is not None or (first is not None and self.running):
            assert not batch, "a retried task runs alone"
            assert self.running, "and will end"
            return
        if first is not None:
            (assignment,) = batch
            assert assignment.task == first
            self.again.pop(0)
            self.alone = assignment.slot
            self.put(assignment)
            return
        if not batch:
            # Nothing waits, or a full batch is worth waiting for, and something live will end.
            assert ready == 0 or (free < self.encode_batch and self.running)
            assert ready or self.running or not any(self.waiting.values())
            return
        assert len(batch) == min(self.encode_batch, ready) <= free
        for assignment in batch:
            self.take(assignment)

    def is_starting(self, recording):
        return any(
            task.recording_id == recording and task.index == 0 for task in self.running.values()
        )

    def count_ready(self, recording):
        """Count a recording's tasks that may run now: all, or only the first few until its first
        task has ended."""
        tasks = self.waiting[recording]
        if self.is_starting(recording) or (tasks and tasks[0].index == 0):
            tasks = itertools.takewhile(lambda task: task.index < self.slow_start, tasks)
        return sum(1 for _ in tasks)

    def put(self, assignment):
        slot, task = assignment.slot, assignment.task
        assert 0 <= slot < self.slots
        assert slot not in self.running
        assert (task.recording_id, task.index) not in self.gone
        self.running[slot] = task

    def take(self, assignment):
        task = assignment.task
        recording, caller = task.recording_id, task.caller
        assert self.waiting[recording][0] is task, "a recording's tasks run in their order"
        waiting = {r for r in range(len(CALLERS)) if self.count_ready(r)}
        self.waiting[recording].pop(0)
        self.put(assignment)
        # Bounded wait: while a caller waits, each other one is served once at most before it.
        self.caller_served_meanwhile[caller].clear()
        for other in {CALLERS[r] for r in waiting} - {caller}:
            self.caller_served_meanwhile[other][caller] += 1
            assert self.caller_served_meanwhile[other][caller] == 1
        # And so is each other recording of its own, while a recording waits.
        self.served_meanwhile[recording].clear()
        for other in waiting - {recording}:
            if CALLERS[other] == caller:
                self.served_meanwhile[other][recording] += 1
                assert self.served_meanwhile[other][recording] == 1
        self.reset_counts_of_idle()

    def reset_counts_of_idle(self):
        """Reset the counts of recordings and callers without a runnable task: they requeue last."""
        waiting = {r for r in range(len(CALLERS)) if self.count_ready(r)}
        for recording in set(range(len(CALLERS))) - waiting:
            self.served_meanwhile[recording].clear()
        for caller in set(CALLERS) - {CALLERS[r] for r in waiting}:
            self.caller_served_meanwhile[caller].clear()

    @precondition(lambda self: self.running)
    @rule(data=st.data())
    def finish(self, data):
        slot = data.draw(st.sampled_from(sorted(self.running)))
        task = self.pop(slot)
        assert self.scheduler.finish(slot) is task
        self.end([task])

    @precondition(lambda self: self.running)
    @rule(data=st.data())
    def fail_one(self, data):
        """A task fails by itself: it is retried once, in its recording's order."""
        slot = data.draw(st.sampled_from(sorted(self.running)))
        task = self.pop(slot)
        given_up = self.scheduler.retry(slot)
        if task.attempt:
            assert given_up is task
            self.end([task])
            return
        assert given_up is None
        waiting = self.waiting[task.recording_id]
        waiting.append(dataclasses.replace(task, attempt=1))
        waiting.sort(key=lambda task: task.index)
        queue = list(self.scheduler._queues[task.recording_id].tasks)
        assert queue == waiting
        waiting[:] = queue  # the scheduler's own copy: what runs is compared by identity
        self.reset_counts_of_idle()

    def pop(self, slot):
        if slot == self.alone:
            self.alone = None
        return self.running.pop(slot)

    @rule(recording=RECORDINGS)
    def cancel(self, recording):
        self.leave(self.scheduler.cancel(recording), lambda task: task.recording_id == recording)

    @rule()
    def fail(self):
        """The device fails: each task in its slots is retried once, alone."""
        slots = sorted(self.running)
        tasks = [self.pop(slot) for slot in slots]
        dropped = self.scheduler.retry_running()
        assert dropped.slots == tuple(slots)
        assert list(map(id, dropped.tasks)) == [id(task) for task in tasks if task.attempt]
        self.again += [dataclasses.replace(task, attempt=1) for task in tasks if not task.attempt]
        self.end(dropped.tasks)

    def leave(self, dropped, should):
        """Check that exactly the expected tasks were dropped."""
        expected = [t for tasks in (*self.waiting.values(), self.again) for t in tasks if should(t)]
        self.again = [task for task in self.again if not should(task)]
        slots = [slot for slot, task in self.running.items() if should(task)]
        expected += [self.pop(slot) for slot in slots]
        assert sorted(map(key, dropped.tasks)) == sorted(map(key, expected))
        assert sorted(dropped.slots) == sorted(slots)
        for recording, tasks in self.waiting.items():
            self.waiting[recording] = [task for task in tasks if not should(task)]
        self.end(expected)

    def end(self, tasks):
        self.reset_counts_of_idle()
        keys = {key(task) for task in tasks}
        assert not keys & self.gone
        self.gone |= keys

    @invariant()
    def everything_is_somewhere_once(self):
        waiting = sum(map(len, self.waiting.values())) + len(self.again)
        assert self.scheduler.waiting == waiting
        assert self.scheduler.running == len(self.running) <= self.slots
        assert self.scheduler.is_idle == (waiting == 0 and not self.running)
        assert sum(self.submitted.values()) == waiting + len(self.running) + len(self.gone)

    def teardown(self):
        """After any rules, the remaining tasks are all served."""
        if not hasattr(self, "scheduler"):
            return
        for _ in range(2 * sum(self.submitted.values()) + 1):
            self.next_batch()
            for slot in sorted(self.running)[:1]:
                self.end([self.pop(slot)])
                self.scheduler.finish(slot)
        assert self.scheduler.is_idle


def key(task):
    return task.recording_id, task.index


TestScheduler = SchedulerMachine.TestCase
TestScheduler.settings = settings(max_examples=examples(200), stateful_step_count=40)

# Commands before one device iteration: (recording, segments submitted), or (recording, None) to
# cancel it.
NEWS = st.lists(
    st.lists(st.tuples(RECORDINGS, st.none() | st.integers(1, 6)), max_size=4), max_size=12
)
SAMPLES = np.zeros(MT3.segment_samples, np.float32)


@pytest.mark.slow
@settings(max_examples=examples(100))
@given(news=NEWS, slots=st.integers(1, 5), encode_batch=st.integers(1, 4))
def test_any_mixture_gives_each_recording_what_it_gets_alone(news, slots, encode_batch):
    outcomes = []
    backend = FakeBackend(MT3, slots=slots, encode_batch=encode_batch)
    loop = DeviceLoop(
        backend, lambda report: outcomes.extend(report.outcomes), spec=MT3, clock=float
    )
    submitted, canceled = collections.Counter(), {}
    for iteration in news:
        for recording, count in iteration:
            if recording in canceled:
                continue
            if count is None:
                loop.cancel(recording)
                canceled[recording] = len(outcomes)
                continue
            first = submitted[recording]
            submitted[recording] += count
            loop.submit(task_of(recording, index) for index in range(first, first + count))
        loop.run_iteration()
    # A segment takes three iterations at most, and at least one slot works at any time.
    for _ in range(3 * sum(submitted.values())):
        loop.run_iteration()

    tokens = {}
    for number, outcome in enumerate(outcomes):
        assert outcome.end is TaskEnd.FINISHED
        recording, index = outcome.task.recording_id, outcome.task.index
        assert (recording, index) not in tokens
        assert number < canceled.get(recording, len(outcomes)), "canceled work came back"
        tokens[recording, index] = outcome.generated.tokens.tolist()
        assert tokens[recording, index] == backend.generate(index).tokens.tolist()
    for recording, count in submitted.items():
        if recording not in canceled:
            assert all((recording, index) in tokens for index in range(count))


@pytest.mark.slow
@settings(max_examples=examples(100))
@given(
    counts=st.lists(st.integers(1, 8), min_size=1, max_size=len(CALLERS)),
    poison=st.sets(st.tuples(st.integers(0, 6), st.integers(0, 7)), max_size=8),
    is_nan=st.booleans(),
    slots=st.integers(1, 6),
    encode_batch=st.integers(1, 4),
)
def test_exactly_the_segments_that_always_fail_fail(counts, poison, is_nan, slots, encode_batch):
    """A failing segment raises or has NaN log probabilities; any number, anywhere."""
    backend = _Poisoned(poison, is_nan=is_nan, slots=slots, encode_batch=encode_batch)
    outcomes, health = [], []

    def report(report):
        outcomes.extend(report.outcomes)
        health.append(report.health)

    loop = DeviceLoop(backend, report, spec=MT3, clock=float)
    tasks = {(r, index) for r, count in enumerate(counts) for index in range(count)}
    for recording, count in enumerate(counts):
        loop.submit(task_of(recording, index) for index in range(count))
    # Each is tried twice at most, three iterations a try, and alone the second time.
    for _ in range(6 * len(tasks)):
        loop.run_iteration()

    ends = {key(outcome.task): outcome.end for outcome in outcomes}
    assert len(ends) == len(outcomes) == len(tasks)
    assert {k for k, end in ends.items() if end is TaskEnd.FAILED} == poison & tasks
    assert set(ends.values()) <= {TaskEnd.FAILED, TaskEnd.FINISHED}
    assert set(health) <= {None}, "silence is generated, so the device is not given up"


class _Poisoned(FakeBackend):
    """Raises while a poisoned segment is in a slot, or gives it NaN; silence is harmless."""

    def __init__(self, poison, *, is_nan, slots, encode_batch):
        super().__init__(MT3, slots=slots, encode_batch=encode_batch)
        self.poison, self.is_nan = poison, is_nan
        self.tasks = {}  # slot -> (recording, index)

    def insert(self, entries):
        super().insert(entries)
        # The start time identifies the recording; silence belongs to none.
        self.tasks |= {e.slot: (e.segment.start_time - 1, e.segment.index) for e in entries}

    def step(self):
        live = {slot: self.tasks[slot] for slot in self._live}
        if not self.is_nan and self.poison & set(live.values()):
            raise RuntimeError("poison")
        finished = super().step()
        if not self.is_nan:
            return finished
        return [_with_nan(f) if live[f.slot] in self.poison else f for f in finished]


def _with_nan(finished):
    nothing = np.full_like(finished.generated.log_probabilities, np.nan)
    generated = dataclasses.replace(finished.generated, log_probabilities=nothing)
    return dataclasses.replace(finished, generated=generated)


def task_of(recording, index):
    segment = Segment(index=index, samples=SAMPLES, frames=1, start_time=recording + 1.0)
    return SegmentTask(
        recording_id=recording,
        index=index,
        caller=CALLERS[recording],
        payload=SegmentWork(segment=segment, decoding="greedy"),
    )
