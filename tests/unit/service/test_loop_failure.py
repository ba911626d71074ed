"""The device loop with a device that raises, returns NaN, keeps failing, or is abandoned."""

import numpy as np
import pytest

from mt3_model.spec import MT3
from service.engine.device_health import (
    FAILING_ITERATIONS,
    DeviceTrialError,
    run_silence_trial,
)
from service.engine.fake_backend import FakeBackend
from tests.unit.service.devices import NumberlessBackend, PoisonedBackend
from tests.unit.service.driven_loop import Driven, Recording


class Failing(Recording):
    """Raises in ``step``, or in another method, while it is broken."""

    def __init__(self, method="step", **shapes):
        super().__init__(**shapes)
        self.method = method
        self.is_broken = True

    def insert(self, entries):
        super().insert(entries)
        self.fail("insert")

    def step(self):
        self.fail("step")
        return super().step()

    def release(self, slots):
        super().release(slots)
        self.fail("release")

    def fail(self, where):
        if self.is_broken and where == self.method:
            raise RuntimeError("device")


@pytest.mark.parametrize("method", ["insert", "step"])
def test_what_ran_in_a_failing_iteration_is_tried_again_one_by_one(method, caplog):
    it = Driven(Failing(method, slots=2, encode_batch=2))
    it.submit(1, 0, 3)
    it.submit(2, 0)
    it.iterate()
    assert it.ends == []
    assert it.loop.failures == 1
    assert [record.message for record in caplog.records] == ["engine_failed"]
    assert it.take_calls()[-1] == ("release", [0, 1])
    it.backend.is_broken = False
    it.iterate(3)
    assert it.ends == [(1, 0, "finished"), (2, 0, "finished"), (1, 3, "finished")]
    assert [what for call, what in it.take_calls() if call == "insert"] == [
        [(0, 0)],
        [(0, 0)],
        [(0, 3)],
    ]


def test_a_segment_that_was_there_at_two_failures_has_failed_and_what_waits_has_not(caplog):
    it = Driven(Failing(slots=2, encode_batch=2))
    it.submit(1, 0, 3)
    it.submit(2, 0)
    it.iterate(2)
    it.backend.is_broken = False
    it.iterate(3)
    assert it.ends == [(1, 0, "failed"), (2, 0, "finished"), (1, 3, "finished")]
    assert it.health == []


def test_a_backend_that_cannot_even_release_is_survived(caplog):
    class Dead(Recording):
        def step(self):
            raise RuntimeError("step")

        def release(self, _):
            raise RuntimeError("release")

    it = Driven(Dead(slots=1, encode_batch=1))
    it.submit(1, 0)
    it.iterate(2)
    assert it.ends == [(1, 0, "failed")]
    assert [r.message for r in caplog.records] == ["engine_failed", "engine_release_failed"] * 2


def test_a_backend_that_ends_a_slot_twice_has_failed(caplog):
    class Twice(Recording):
        def step(self):
            return 2 * super().step()

    it = Driven(Twice(slots=2, encode_batch=2))
    it.submit(1, 0, 3)
    it.iterate()
    assert it.ends == [(1, 0, "finished")]
    assert it.loop.failures == 1
    it.iterate()
    assert it.ends[1:] == [(1, 3, "finished")]


def test_a_failure_while_releasing_tries_what_runs_again(caplog):
    it = Driven(Failing("release", slots=2, encode_batch=2))
    it.submit(1, 2)
    it.submit(2, 2)
    it.iterate()
    it.loop.cancel(1)
    it.iterate()
    it.backend.is_broken = False
    it.iterate(3)
    assert it.ends == [(2, 2, "finished")]


def test_a_device_that_keeps_failing_is_given_up_and_what_waits_ends(caplog):
    it = Driven(Failing(slots=2, encode_batch=2))
    it.submit(1, 0, 1, 2)
    it.submit(2, 0, 1, 2)
    it.iterate(FAILING_ITERATIONS - 1)
    assert it.health == []
    it.iterate()
    assert it.health == [False]
    assert sorted(it.ends) == [(r, i, "failed") for r in (1, 2) for i in (0, 1, 2)]
    it.submit(3, 0)
    it.iterate()
    assert it.ends[6:] == [(3, 0, "failed")], "at once"


def test_a_device_given_up_is_tried_by_itself_less_and_less_often_until_it_works(caplog):
    it = Driven(Failing(slots=2, encode_batch=2))
    it.submit(1, 0, 1, 2)
    it.iterate(FAILING_ITERATIONS)
    it.backend.calls.clear()
    tried = []
    for second in range(120):
        it.now = float(second)
        it.iterate()
        if it.take_calls():
            tried.append(second)
    # After 2, 4, 8 and 16 seconds more, and then every 30.
    assert tried == [2, 6, 14, 30, 60, 90]
    it.backend.is_broken = False
    it.now = 120.0
    it.iterate()
    assert it.take_calls() == [("release", [0, 1]), ("insert", [(0, 0)]), ("step", [0])]
    assert it.health[-1] is True
    it.submit(2, 0)
    it.iterate()
    assert it.ends[-1] == (2, 0, "finished")
    it.now = 500.0
    it.iterate()
    assert it.take_calls()[2:] == []


def test_failing_iterations_with_a_finished_segment_between_are_no_reason_to_give_up(caplog):
    it = Driven(Failing(slots=1, encode_batch=1))
    for recording_id in range(10):
        it.submit(recording_id, 0)
        it.iterate(2)
        it.backend.is_broken = False
        it.submit(100, recording_id * 3)
        it.iterate()
        it.backend.is_broken = True
    assert it.loop.failures == 20
    assert it.health == []
    assert [end for _, _, end in it.ends] == ["failed", "finished"] * 10


def test_segments_that_each_make_the_device_fail_are_not_the_device_failing(caplog):
    """After four in a row, the trial with silence shows that the device works."""
    backend = PoisonedBackend(1, 2, 3, 4, slots=4)
    it = Driven(backend)
    it.submit(1, 1, 2, 3, 4, 5, 6)
    it.iterate(20)
    assert it.health == []
    assert sorted(it.ends) == [
        *((1, index, "failed") for index in (1, 2, 3, 4)),
        *((1, index, "finished") for index in (5, 6)),
    ]


def test_one_poison_segment_fails_alone_and_every_other_one_is_transcribed(caplog):
    backend = PoisonedBackend(13, slots=4)
    it = Driven(backend)
    it.submit(1, *range(20))
    it.submit(2, 1, 2, 3)
    it.iterate(80)
    assert [end for end in it.ends if end[2] != "finished"] == [(1, 13, "failed")]
    assert len(it.ends) == 23
    for report in it.reports:
        for outcome in report.outcomes:
            if outcome.generated is not None:
                expected = backend.generate(outcome.task.index).tokens.tolist()
                assert outcome.generated.tokens.tolist() == expected
    assert backend.iterations.count([13]) == 1, "it ran alone"
    assert it.loop.failures == 2


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_segment_without_numbers_is_tried_again_and_its_neighbours_go_on(value, caplog):
    it = Driven(NumberlessBackend(3, times=1, value=value, slots=2))
    it.submit(1, 3, 2)
    it.iterate(3)
    assert it.ends == [(1, 3, "finished"), (1, 2, "finished")]
    assert it.loop.failures == 1
    assert [record.message for record in caplog.records] == ["segment_not_a_number"]


def test_a_segment_that_never_gives_numbers_fails_alone(caplog):
    it = Driven(NumberlessBackend(3, slots=2))
    it.submit(1, 3, 2, 6, 9)
    it.iterate(5)
    assert sorted(it.ends) == [
        (1, 2, "finished"),
        (1, 3, "failed"),
        (1, 6, "finished"),
        (1, 9, "finished"),
    ]
    assert it.health == []


def test_a_log_probability_of_minus_infinity_is_a_number():
    it = Driven(NumberlessBackend(3, value=-np.inf))
    it.submit(1, 3)
    it.iterate()
    assert it.ends == [(1, 3, "finished")]


def test_a_device_that_gives_no_numbers_at_all_is_given_up(caplog):
    it = Driven(NumberlessBackend(*range(100), slots=2))
    it.submit(1, *range(0, 30, 3))
    it.iterate(10)
    assert it.health == [False]
    assert sorted(it.ends) == [(1, index, "failed") for index in range(0, 30, 3)]


def test_what_an_abandoned_call_gives_is_dropped(caplog):
    class Abandoned(Recording):
        def step(self):
            if self.calls == [("insert", [(0, 0)])]:
                it.loop.abandon()
            return super().step()

    it = Driven(Abandoned(slots=2, encode_batch=2))
    it.submit(1, 0, 3)
    it.iterate()
    assert it.ends == [(1, 3, "failed")], "the first has its tokens, for which nobody waits"
    assert it.health == [False]
    it.iterate()
    assert it.health == [False], "not before it is time"
    it.now = 2.0
    it.iterate()
    assert it.health == [False, True]
    it.submit(2, 0)
    it.iterate()
    assert it.ends[1:] == [(2, 0, "finished")]


def test_an_idle_loop_that_is_abandoned_tries_the_device_all_the_same():
    it = Driven(Recording(slots=2, encode_batch=1))
    it.loop.abandon()
    it.iterate()
    it.now = 2.0
    it.iterate()
    assert it.health == [False, True]


def test_a_trial_that_does_not_end_has_failed():
    class Endless(FakeBackend):
        def step(self):
            return []

    with pytest.raises(DeviceTrialError, match="does not end"):
        run_silence_trial(Endless(MT3), MT3)
