"""The device's loop, visit by visit and without its thread, over the backend of known visits."""

import numpy as np
import pytest

from mt3_model.spec import MT3
from mt3_model.spectrogram.segments import Segment
from service.engine.fake_backend import FakeBackend
from service.engine.loop import DeviceLoop, SegmentWork
from service.engine.requests import SegmentTask, TaskEnd


class Recording(FakeBackend):
    """Remembers every call."""

    def __init__(self, **shapes):
        super().__init__(MT3, **shapes)
        self.calls = []

    def insert(self, entries):
        self.calls.append(("insert", [(e.slot, e.segment.index) for e in entries]))
        super().insert(entries)

    def step(self):
        finished = super().step()
        self.calls.append(("step", [f.slot for f in finished]))
        return finished

    def release(self, slots):
        self.calls.append(("release", list(slots)))
        super().release(slots)


class Driven:
    """A loop with what it reported."""

    def __init__(self, backend):
        self.backend = backend
        self.reports = []
        self.now = 0.0
        self.loop = DeviceLoop(backend, self.reports.append, clock=lambda: self.now)

    def submit(self, recording_id, *indices, deadline=None):
        self.loop.submit(
            SegmentTask(recording_id=recording_id, index=i, payload=work(i), deadline=deadline)
            for i in indices
        )

    def visit(self, times=1):
        for _ in range(times):
            self.loop.run_once()

    @property
    def ends(self):
        return [
            (o.task.recording_id, o.task.index, o.end.value)
            for report in self.reports
            for o in report.outcomes
        ]

    def take_calls(self):
        calls, self.backend.calls = self.backend.calls, []
        return calls


def work(index):
    segment = Segment(
        index=index,
        samples=np.zeros(MT3.segment_samples, np.float32),
        frames=MT3.segment_frames,
        start_time=0.0,
    )
    return SegmentWork(segment=segment, decoding="greedy")


def driven(slots=2, encode_batch=1):
    return Driven(Recording(slots=slots, encode_batch=encode_batch))


def test_the_example_of_the_fake_backend():
    it = driven()
    it.submit(7, 0, 1, 2, 3, 4)
    it.visit(6)
    assert it.ends == [(7, index, "finished") for index in (0, 1, 3, 2, 4)]
    assert it.take_calls() == [
        ("insert", [(0, 0)]), ("step", [0]),
        ("insert", [(0, 1)]), ("step", []),
        ("insert", [(1, 2)]), ("step", [0]),
        ("insert", [(0, 3)]), ("step", [0]),
        ("insert", [(0, 4)]), ("step", [1]),
        ("step", [0]),
    ]  # fmt: skip


def test_segments_of_several_recordings_share_an_insert():
    it = driven(slots=4, encode_batch=4)
    it.submit(1, 0, 1)
    it.submit(2, 0, 1)
    it.visit()
    assert it.take_calls()[0] == ("insert", [(0, 0), (1, 0), (2, 1), (3, 1)])
    assert it.ends == [(1, 0, "finished"), (2, 0, "finished")]


def test_the_outcome_has_the_tokens_of_its_own_segment():
    it = driven()
    it.submit(1, 0, 1)
    it.visit(2)
    for report in it.reports:
        for outcome in report.outcomes:
            expected = it.backend.generate(outcome.task.index)
            assert outcome.generated.tokens.tolist() == expected.tokens.tolist()


def test_with_nothing_to_do_the_device_is_left_alone():
    it = driven()
    it.visit(3)
    assert it.take_calls() == []
    assert it.reports == []


def test_a_cancelled_recording_leaves_its_slots_in_the_next_visit():
    it = driven(encode_batch=2)
    it.submit(1, 2, 5, 8)  # three visits each
    it.visit()
    it.submit(2, 0)
    it.take_calls()
    it.loop.cancel(1)
    it.visit()
    assert it.take_calls() == [("release", [0, 1]), ("insert", [(0, 0)]), ("step", [0])]
    assert it.ends == [(2, 0, "finished")]
    it.visit(5)
    assert it.take_calls() == []


def test_what_is_submitted_and_cancelled_between_visits_never_reaches_the_device():
    it = driven()
    it.submit(1, 0, 1)
    it.loop.cancel(1)
    it.visit()
    assert it.take_calls() == []


def test_a_passed_deadline_is_reported_and_its_slots_are_released():
    it = driven(slots=1)
    it.submit(1, 2, 5, deadline=10.0)
    it.visit()
    it.now = 10.0
    it.take_calls()
    it.visit()
    assert sorted(it.ends) == [(1, 2, "expired"), (1, 5, "expired")]
    assert it.take_calls() == [("release", [0])]


def test_the_time_of_insertion_and_of_work_is_reported():
    class Slow(Recording):
        def step(self):
            it.now += 0.5
            return super().step()

    it = Driven(Slow(slots=1, encode_batch=1))
    it.submit(1, 1, 0)  # two visits, then one
    it.now = 3.0
    it.visit(3)
    assert [o.inserted for r in it.reports for o in r.outcomes] == [3.0, 4.0]
    assert [r.busy_seconds for r in it.reports] == [1.0, 0.5]


@pytest.mark.parametrize("method", ["insert", "step"])
def test_a_failure_ends_what_runs_and_the_loop_goes_on(method, caplog):
    class Failing(Recording):
        is_broken = True

        def insert(self, entries):
            super().insert(entries)
            self.fail("insert")

        def step(self):
            self.fail("step")
            return super().step()

        def fail(self, where):
            if self.is_broken and where == method:
                raise RuntimeError("device")

    it = Driven(Failing(slots=2, encode_batch=2))
    it.submit(1, 0, 3)
    it.submit(2, 0)
    it.visit()
    assert it.ends == [(1, 0, "failed"), (2, 0, "failed")]
    assert it.loop.failures == 1
    assert [record.message for record in caplog.records] == ["engine_failed"]
    assert it.take_calls()[-1] == ("release", [0, 1])
    it.backend.is_broken = False
    it.visit()
    assert it.ends[2:] == [(1, 3, "finished")]


def test_a_backend_that_cannot_even_release_is_survived(caplog):
    class Dead(Recording):
        def step(self):
            raise RuntimeError("step")

        def release(self, _):
            raise RuntimeError("release")

    it = Driven(Dead(slots=1, encode_batch=1))
    it.submit(1, 0)
    it.visit()
    assert it.ends == [(1, 0, "failed")]
    assert [r.message for r in caplog.records] == ["engine_failed", "engine_release_failed"]


def test_a_backend_that_ends_a_slot_twice_has_failed(caplog):
    class Twice(Recording):
        def step(self):
            return 2 * super().step()

    it = Driven(Twice(slots=2, encode_batch=2))
    it.submit(1, 0, 1)
    it.visit()
    assert it.ends == [(1, 0, "finished"), (1, 1, "failed")]


def test_a_failure_while_releasing_reports_what_runs(caplog):
    class Failing(Recording):
        def release(self, _):
            raise RuntimeError("release")

    it = Driven(Failing(slots=2, encode_batch=2))
    it.submit(1, 2)
    it.submit(2, 2)
    it.visit()
    it.loop.cancel(1)
    it.visit()
    assert it.ends == [(2, 2, "failed")]


def test_stopping_ends_everything_that_is_left():
    it = driven(slots=1)
    it.submit(1, 2, 5)
    it.visit()
    it.loop.stop()
    it.submit(2, 0)
    warming = it.loop.warm_up()
    it.loop.run()
    assert sorted(it.ends) == [(1, 2, "closed"), (1, 5, "closed"), (2, 0, "closed")]
    assert warming.cancelled()


def test_warming_up_reports_success_and_failure():
    class Cold(Recording):
        def warm_up(self):
            raise RuntimeError("cold")

    it, cold = driven(), Driven(Cold())
    done, failed = it.loop.warm_up(), cold.loop.warm_up()
    it.visit()
    cold.visit()
    assert done.result(0) is None
    with pytest.raises(RuntimeError, match="cold"):
        failed.result(0)


def test_every_end_has_a_name():
    assert {end.value for end in TaskEnd} == {"finished", "expired", "failed", "closed"}
