"""The device loop without its thread, one iteration at a time, over a backend of known lengths."""

import pytest

from service.engine.segment_tasks import TaskEnd
from tests.unit.service.driven_loop import Driven, Recording


def driven(slots=2, encode_batch=1):
    return Driven(Recording(slots=slots, encode_batch=encode_batch))


def test_the_example_of_the_fake_backend():
    it = driven()
    it.submit(7, 0, 1, 2, 3, 4)
    it.iterate(6)
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
    it.iterate()
    assert it.take_calls()[0] == ("insert", [(0, 0), (1, 0), (2, 1), (3, 1)])
    assert it.ends == [(1, 0, "finished"), (2, 0, "finished")]


def test_the_outcome_has_the_tokens_of_its_own_segment():
    it = driven()
    it.submit(1, 0, 1)
    it.iterate(2)
    for report in it.reports:
        for outcome in report.outcomes:
            expected = it.backend.generate(outcome.task.index)
            assert outcome.generated.tokens.tolist() == expected.tokens.tolist()


def test_with_nothing_to_do_the_device_is_left_alone():
    it = driven()
    it.iterate(3)
    assert it.take_calls() == []
    assert it.reports == []


def test_a_cancelled_recording_leaves_its_slots_in_the_next_iteration():
    it = driven(encode_batch=2)
    it.submit(1, 2, 5, 8)  # three iterations each
    it.iterate()
    it.submit(2, 0)
    it.take_calls()
    it.loop.cancel(1)
    it.iterate()
    assert it.take_calls() == [("release", [0, 1]), ("insert", [(0, 0)]), ("step", [0])]
    assert it.ends == [(2, 0, "finished")]
    it.iterate(5)
    assert it.take_calls() == []


def test_what_is_submitted_and_cancelled_between_iterations_never_reaches_the_device():
    it = driven()
    it.submit(1, 0, 1)
    it.loop.cancel(1)
    it.iterate()
    assert it.take_calls() == []


def test_the_time_of_insertion_and_of_work_is_reported():
    class Slow(Recording):
        def step(self):
            it.now += 0.5
            return super().step()

    it = Driven(Slow(slots=1, encode_batch=1))
    it.submit(1, 1, 0)  # two iterations, then one
    it.now = 3.0
    it.iterate(3)
    assert [o.inserted for r in it.reports for o in r.outcomes] == [3.0, 4.0]
    assert [r.busy_seconds for r in it.reports] == [1.0, 0.5]


def test_stopping_ends_everything_that_is_left():
    it = driven(slots=1)
    it.submit(1, 2, 5)
    it.iterate()
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
    it.iterate()
    cold.iterate()
    assert done.result(0) is None
    with pytest.raises(RuntimeError, match="cold"):
        failed.result(0)


def test_every_end_has_a_name():
    assert {end.value for end in TaskEnd} == {"finished", "failed", "closed"}
