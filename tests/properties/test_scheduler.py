"""The scheduler as a state machine, and the engine's loop under any mixture of recordings.

The machine keeps a model of its own: which tasks wait, in which order per recording, and what runs
where. After every rule no slot holds two tasks, no task is lost, run twice or brought back, and the
turns are fair.
"""

import collections

import hypothesis.strategies as st
import numpy as np
from hypothesis import given, settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from mt3_model.spec import MT3
from mt3_model.spectrogram.segments import Segment
from service.engine.fake_backend import FakeBackend
from service.engine.loop import DeviceLoop, SegmentWork
from service.engine.requests import SegmentTask, TaskEnd
from service.engine.scheduler import Scheduler

RECORDINGS = st.integers(0, 4)


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
        self.now = 0.0
        self.submitted = collections.Counter()  # tasks by recording, over all time
        self.waiting = collections.defaultdict(list)  # recording -> tasks in order
        self.running = {}  # slot -> task
        self.gone = set()  # (recording, index) of all that ended
        self.served_meanwhile = collections.defaultdict(collections.Counter)

    @rule(recording=RECORDINGS, count=st.integers(1, 5), deadline=st.none() | st.integers(1, 40))
    def submit(self, recording, count, deadline):
        for _ in range(count):
            task = SegmentTask(
                recording_id=recording,
                index=self.submitted[recording],
                payload=None,
                deadline=None if deadline is None else self.now + deadline,
            )
            self.submitted[recording] += 1
            if not self.waiting[recording]:
                self.served_meanwhile[recording].clear()
            self.waiting[recording].append(task)
            self.scheduler.submit(task)

    @rule()
    def next_batch(self):
        ready = {recording: self.count_ready(recording) for recording in self.waiting}
        waiting = sum(ready.values())
        free = self.slots - len(self.running)
        batch = self.scheduler.next_batch()
        if not batch:
            # Nothing waits, or a full batch is worth waiting for, and something live will end.
            assert waiting == 0 or (free < self.encode_batch and self.running)
            return
        assert len(batch) == min(self.encode_batch, waiting) <= free
        for assignment in batch:
            self.take(assignment.slot, assignment.task)

    def count_ready(self, recording):
        """Its waiting tasks, but only its first few until its first one has ended."""
        starting = any(
            task.recording_id == recording and task.index == 0
            for task in (*self.running.values(), *self.waiting[recording])
        )
        return sum(not starting or task.index < self.slow_start for task in self.waiting[recording])

    def take(self, slot, task):
        recording = task.recording_id
        assert 0 <= slot < self.slots
        assert slot not in self.running
        assert self.waiting[recording][0] is task, "a recording's tasks run in their order"
        assert (recording, task.index) not in self.gone
        self.waiting[recording].pop(0)
        self.running[slot] = task
        # Bounded wait: while a recording waits, each other is served once at most before it.
        self.served_meanwhile[recording].clear()
        for other in self.waiting:
            if not self.count_ready(other):
                self.served_meanwhile[other].clear()
            elif other != recording:
                self.served_meanwhile[other][recording] += 1
                assert self.served_meanwhile[other][recording] == 1

    @precondition(lambda self: self.running)
    @rule(data=st.data())
    def finish(self, data):
        slot = data.draw(st.sampled_from(sorted(self.running)))
        task = self.running.pop(slot)
        assert self.scheduler.finish(slot) is task
        self.end([task])

    @rule(recording=RECORDINGS)
    def cancel(self, recording):
        self.leave(self.scheduler.cancel(recording), lambda task: task.recording_id == recording)

    @rule(seconds=st.integers(0, 10))
    def pass_time(self, seconds):
        self.now += seconds
        self.leave(
            self.scheduler.drop_expired(self.now),
            lambda task: task.deadline is not None and task.deadline <= self.now,
        )

    @rule()
    def fail(self):
        running = set(map(id, self.running.values()))
        self.leave(self.scheduler.drop_running(), lambda task: id(task) in running)

    def leave(self, dropped, should):
        """Checks that exactly the tasks that should have been dropped were."""
        expected = [t for tasks in self.waiting.values() for t in tasks if should(t)]
        slots = [slot for slot, task in self.running.items() if should(task)]
        expected += [self.running.pop(slot) for slot in slots]
        assert sorted(map(id, dropped.tasks)) == sorted(map(id, expected))
        assert sorted(dropped.slots) == sorted(slots)
        for recording, tasks in self.waiting.items():
            self.waiting[recording] = [task for task in tasks if not should(task)]
        self.end(expected)

    def end(self, tasks):
        keys = {(task.recording_id, task.index) for task in tasks}
        assert not keys & self.gone
        self.gone |= keys

    @invariant()
    def everything_is_somewhere_once(self):
        waiting = sum(map(len, self.waiting.values()))
        assert self.scheduler.waiting == waiting
        assert self.scheduler.running == len(self.running) <= self.slots
        assert self.scheduler.is_idle == (waiting == 0 and not self.running)
        assert sum(self.submitted.values()) == waiting + len(self.running) + len(self.gone)

    def teardown(self):
        """Whatever happened, what is left is served in the end."""
        if not hasattr(self, "scheduler"):
            return
        for _ in range(2 * sum(self.submitted.values()) + 1):
            self.next_batch()
            for slot in sorted(self.running)[:1]:
                self.end([self.running.pop(slot)])
                self.scheduler.finish(slot)
        assert self.scheduler.is_idle


TestScheduler = SchedulerMachine.TestCase
TestScheduler.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)

# One visit's news: (recording, segments submitted), or (recording, None) for its cancellation.
NEWS = st.lists(
    st.lists(st.tuples(RECORDINGS, st.none() | st.integers(1, 6)), max_size=4), max_size=12
)
SAMPLES = np.zeros(MT3.segment_samples, np.float32)


@settings(max_examples=100, deadline=None)
@given(news=NEWS, slots=st.integers(1, 5), encode_batch=st.integers(1, 4))
def test_any_mixture_gives_each_recording_what_it_gets_alone(news, slots, encode_batch):
    outcomes = []
    backend = FakeBackend(MT3, slots=slots, encode_batch=encode_batch)
    loop = DeviceLoop(backend, lambda report: outcomes.extend(report.outcomes), clock=float)
    submitted, cancelled = collections.Counter(), {}
    for visit in news:
        for recording, count in visit:
            if recording in cancelled:
                continue
            if count is None:
                loop.cancel(recording)
                cancelled[recording] = len(outcomes)
                continue
            first = submitted[recording]
            submitted[recording] += count
            loop.submit(task_of(recording, index) for index in range(first, first + count))
        loop.run_once()
    # A segment takes three visits at most, and at least one slot works at any time.
    for _ in range(3 * sum(submitted.values())):
        loop.run_once()

    tokens = {}
    for number, outcome in enumerate(outcomes):
        assert outcome.end is TaskEnd.FINISHED
        recording, index = outcome.task.recording_id, outcome.task.index
        assert (recording, index) not in tokens
        assert number < cancelled.get(recording, len(outcomes)), "cancelled work came back"
        tokens[recording, index] = outcome.generated.tokens.tolist()
        assert tokens[recording, index] == backend.generate(index).tokens.tolist()
    for recording, count in submitted.items():
        if recording not in cancelled:
            assert all((recording, index) in tokens for index in range(count))


def task_of(recording, index):
    segment = Segment(index=index, samples=SAMPLES, frames=1, start_time=0.0)
    return SegmentTask(
        recording_id=recording,
        index=index,
        payload=SegmentWork(segment=segment, decoding="greedy"),
    )
