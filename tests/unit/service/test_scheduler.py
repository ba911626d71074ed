"""The scheduler's rules, one by one; `tests/properties/test_scheduler.py` has their mixture."""

import pytest

from service.engine.requests import SegmentTask
from service.engine.scheduler import Scheduler


def task(name, deadline=None):
    """Task "b2" is the third of recording b."""
    return SegmentTask(
        recording_id=ord(name[0]), index=int(name[1:]), payload=name, deadline=deadline
    )


def scheduler_with(*names, slots=4, encode_batch=1):
    scheduler = Scheduler(slots=slots, encode_batch=encode_batch)
    for name in names:
        scheduler.submit(task(name))
    return scheduler


def fill(scheduler):
    """Everything that is given a slot now, batch by batch."""
    batches = []
    while batch := scheduler.next_batch():
        batches.append([(a.slot, a.task.payload) for a in batch])
    return batches


def names(dropped):
    return [t.payload for t in dropped.tasks]


def test_recordings_take_turns_and_each_keeps_its_order():
    scheduler = scheduler_with("a0", "a1", "a2", "b0", "b1", "c0", slots=6)
    order = [name for batch in fill(scheduler) for _, name in batch]
    assert order == ["a0", "b0", "c0", "a1", "b1", "a2"]


def test_a_recording_that_comes_late_is_next_but_for_those_that_wait():
    scheduler = scheduler_with("a0", "a1", "a2", "b0", "b1", slots=1)
    assert fill(scheduler) == [[(0, "a0")]]
    scheduler.submit(task("c0"))
    order = []
    for _ in range(3):
        scheduler.finish(0)
        order.append(fill(scheduler)[0][0][1])
    assert order == ["b0", "a1", "c0"]


def test_the_lowest_free_slot_is_given_first():
    scheduler = scheduler_with("a0", "a1", "a2", slots=3)
    fill(scheduler)
    scheduler.finish(2)
    assert scheduler.finish(0).payload == "a0"
    scheduler.submit(task("a3"))
    assert fill(scheduler) == [[(0, "a3")]]


def test_an_idle_device_is_filled_in_batches():
    scheduler = scheduler_with(*(f"a{i}" for i in range(9)), slots=8, encode_batch=4)
    assert [len(batch) for batch in fill(scheduler)] == [4, 4]
    assert (scheduler.waiting, scheduler.running) == (1, 8)


def test_with_many_waiting_a_batch_waits_until_it_is_full():
    scheduler = scheduler_with(*(f"a{i}" for i in range(9)), slots=4, encode_batch=3)
    assert fill(scheduler) == [[(0, "a0"), (1, "a1"), (2, "a2")]]  # one slot stays free
    scheduler.finish(0)
    assert fill(scheduler) == []
    scheduler.finish(2)
    assert fill(scheduler) == [[(0, "a3"), (2, "a4"), (3, "a5")]]


def test_few_waiting_tasks_do_not_wait_for_others_to_come():
    scheduler = scheduler_with("a0", "a1", slots=4, encode_batch=3)
    assert fill(scheduler) == [[(0, "a0"), (1, "a1")]]
    scheduler.submit(task("a2"))
    assert fill(scheduler) == [[(2, "a2")]]


def test_a_batch_larger_than_the_device_does_not_wait_for_ever():
    scheduler = scheduler_with("a0", "a1", "a2", slots=2, encode_batch=8)
    assert fill(scheduler) == [[(0, "a0"), (1, "a1")]]


def test_cancelling_drops_what_waits_and_names_the_slots_of_what_runs():
    scheduler = scheduler_with("a0", "b0", "a1", "b1", slots=2)
    fill(scheduler)
    dropped = scheduler.cancel(ord("a"))
    assert sorted(names(dropped)) == ["a0", "a1"]
    assert dropped.slots == (0,)
    assert fill(scheduler) == [[(0, "b1")]]
    assert scheduler.cancel(ord("a")).tasks == ()


def test_cancelling_keeps_the_turns_of_the_others():
    scheduler = scheduler_with("a0", "b0", "c0", "a1", "c1", slots=1)
    fill(scheduler)
    scheduler.cancel(ord("b"))
    order = []
    while scheduler.running:
        scheduler.finish(0)
        order += [name for batch in fill(scheduler) for _, name in batch]
    assert order == ["c0", "a1", "c1"]


def test_a_passed_deadline_drops_waiting_and_running_tasks():
    scheduler = Scheduler(slots=1, encode_batch=1)
    for name, deadline in (("a0", 5.0), ("a1", 6.0), ("b0", 5.0), ("c0", None)):
        scheduler.submit(task(name, deadline))
    fill(scheduler)
    assert scheduler.drop_expired(4.9).tasks == ()
    dropped = scheduler.drop_expired(5.0)
    assert (sorted(names(dropped)), dropped.slots) == (["a0", "b0"], (0,))
    assert fill(scheduler) == [[(0, "c0")]]  # whose turn it was after a0
    assert scheduler.drop_expired(5.9).tasks == ()
    assert names(scheduler.drop_expired(7.0)) == ["a1"]
    scheduler.finish(0)
    assert scheduler.is_idle


def test_what_runs_can_be_dropped_alone():
    scheduler = scheduler_with("a0", "b0", "a1", slots=2)
    fill(scheduler)
    assert names(scheduler.drop_running()) == ["a0", "b0"]
    assert (scheduler.waiting, scheduler.running) == (1, 0)
    assert names(scheduler.drop_all()) == ["a1"]
    assert scheduler.is_idle


def test_a_slot_that_runs_nothing_cannot_end():
    with pytest.raises(AssertionError, match="slot 0"):
        Scheduler(slots=1, encode_batch=1).finish(0)


def test_a_recording_starts_slowly_until_its_first_task_has_ended():
    scheduler = Scheduler(slots=8, encode_batch=2, slow_start=2)
    for name in ("a0", "a1", "a2", "a3", "a4"):
        scheduler.submit(task(name))
    assert fill(scheduler) == [[(0, "a0"), (1, "a1")]]
    scheduler.finish(1)
    assert fill(scheduler) == [], "the second may end first"
    scheduler.finish(0)
    assert fill(scheduler) == [[(0, "a2"), (1, "a3")], [(2, "a4")]]


def test_a_recording_that_starts_slowly_leaves_the_slots_to_others():
    scheduler = Scheduler(slots=4, encode_batch=2, slow_start=1)
    for name in ("a0", "a1", "b0", "b1"):
        scheduler.submit(task(name))
    assert fill(scheduler) == [[(0, "a0"), (1, "b0")]]
    scheduler.finish(1)
    assert fill(scheduler) == [[(1, "b1")]]
    assert names(scheduler.cancel(ord("a"))) == ["a1", "a0"]
    scheduler.submit(task("a5"))
    assert fill(scheduler) == [[(0, "a5")]], "cancelled: it starts no more"
