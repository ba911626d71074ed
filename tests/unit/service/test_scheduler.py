"""The scheduler's rules, one by one; `tests/properties/test_scheduler.py` has their mixture."""

import pytest

from service.engine.scheduler import Scheduler
from service.engine.segment_tasks import SegmentTask


def task(name, submitted=0.0):
    """Task "b2" is the third of recording b; "x:b2" the same, of caller x."""
    caller, _, rest = name.rpartition(":")
    return SegmentTask(
        recording_id=ord(rest[0]),
        index=int(rest[1:]),
        payload=name,
        caller=caller or "anonymous",
        submitted=submitted,
    )


def scheduler_with(*names, slots=4, encode_batch=1):
    scheduler = Scheduler(slots=slots, encode_batch=encode_batch)
    for name in names:
        scheduler.submit(task(name))
    return scheduler


def fill(scheduler):
    """Return everything that gets a slot now, batch by batch."""
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


def drain(scheduler):
    """End running tasks, slot by slot, until none is left; return the tasks in the order of their
    slots."""
    order = [name for batch in fill(scheduler) for _, name in batch]
    while not scheduler.is_idle:
        scheduler.finish(min(scheduler._running))
        order += [name for batch in fill(scheduler) for _, name in batch]
    return order


def test_everything_can_be_dropped():
    scheduler = scheduler_with("a0", "b0", "a1", "a2", slots=2)
    fill(scheduler)
    scheduler.retry_running()
    fill(scheduler)
    assert sorted(names(scheduler.drop_all())) == ["a0", "a1", "a2", "b0"]
    assert scheduler.is_idle
    assert fill(scheduler) == []


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
    assert fill(scheduler) == [[(0, "a5")]], "canceled: it starts no more"


def test_tasks_that_fail_by_themselves_are_tried_again_in_their_order():
    scheduler = Scheduler(slots=3, encode_batch=3, slow_start=2)
    for name in ("a0", "a1", "a2"):
        scheduler.submit(task(name))
    assert fill(scheduler) == [[(0, "a0"), (1, "a1")]]
    assert scheduler.retry(0) is None
    assert scheduler.retry(1) is None
    assert fill(scheduler) == [[(0, "a0"), (1, "a1")]], "the third waits for the first to end"
    scheduler.finish(0)
    assert fill(scheduler) == [[(0, "a2")]]


def test_callers_take_turns_whatever_their_number_of_recordings():
    scheduler = scheduler_with(
        "x:a0", "x:a1", "x:b0", "x:b1", "x:c0", "y:d0", "y:d1", "y:d2", slots=8
    )
    order = [name for batch in fill(scheduler) for _, name in batch]
    assert order == ["x:a0", "y:d0", "x:b0", "y:d1", "x:c0", "y:d2", "x:a1", "x:b1"]


def test_a_hundred_recordings_of_an_hour_slow_three_minutes_no_more_than_one_does():
    """88 segments are three minutes of 2.048 s, 1,758 an hour."""

    def turns_of_y(recordings):
        scheduler = Scheduler(slots=4, encode_batch=2, slow_start=2)
        for recording_id in range(recordings):
            for index in range(1_758):
                scheduler.submit(
                    SegmentTask(recording_id=recording_id, index=index, payload="x", caller="x")
                )
        fill(scheduler)
        for index in range(88):
            scheduler.submit(SegmentTask(recording_id=-1, index=index, payload="y", caller="y"))
        served = 0
        left = 88
        while left:
            left -= scheduler.finish(min(scheduler._running)).payload == "y"
            served += sum(map(len, fill(scheduler)))
        return served

    one, hundred = turns_of_y(1), turns_of_y(100)
    assert hundred <= one + 4
    assert hundred <= 2 * 88 + 4


def test_the_work_of_a_batch_does_not_grow_with_what_waits():
    """The cost is counted in tasks examined, not in seconds."""
    looks = 0

    class Watched(SegmentTask):
        __slots__ = ()

        def __getattribute__(self, name):
            nonlocal looks
            looks += name == "index"
            return super().__getattribute__(name)

    def looks_at(recordings, length):
        nonlocal looks
        scheduler = Scheduler(slots=8, encode_batch=4, slow_start=4)
        for recording_id in range(recordings):
            for index in range(length):
                scheduler.submit(
                    Watched(
                        recording_id=recording_id,
                        index=index,
                        payload=None,
                        caller=str(recording_id % 10),
                    )
                )
        fill(scheduler)
        looks = 0
        for _ in range(50):
            scheduler.finish(min(scheduler._running))
            fill(scheduler)
        return looks

    assert looks_at(400, 50) <= 2 * looks_at(40, 25)


def test_a_recording_held_back_does_not_hold_its_caller_back():
    scheduler = Scheduler(slots=4, encode_batch=1, slow_start=1)
    for name in ("x:a0", "x:a1", "x:b0", "y:c0"):
        scheduler.submit(task(name))
    order = [name for batch in fill(scheduler) for _, name in batch]
    assert order == ["x:a0", "y:c0", "x:b0"]
    assert scheduler.waiting == 1
    scheduler.finish(0)
    assert fill(scheduler) == [[(0, "x:a1")]]


def test_a_caller_whose_tasks_are_cancelled_leaves_the_ring():
    scheduler = scheduler_with("x:a0", "x:a1", "y:b0", "y:b1", slots=1)
    fill(scheduler)
    scheduler.cancel(ord("a"))
    assert drain(scheduler) == ["y:b0", "y:b1"]
    scheduler.submit(task("x:a2"))
    assert drain(scheduler) == ["x:a2"]


def test_a_recording_has_one_caller():
    scheduler = scheduler_with("x:a0")
    with pytest.raises(AssertionError, match="one caller"):
        scheduler.submit(task("y:a1"))


def test_what_ran_when_the_device_failed_runs_again_first_and_each_alone():
    scheduler = scheduler_with("a0", "b0", "a1", "b1", slots=2)
    fill(scheduler)
    dropped = scheduler.retry_running()
    assert (dropped.tasks, dropped.slots) == ((), (0, 1))
    assert (scheduler.waiting, scheduler.running) == (4, 0)
    for name in ("a0", "b0"):
        assert fill(scheduler) == [[(0, name)]], "one slot stays empty"
        assert scheduler.finish(0).attempt == 1
    assert fill(scheduler) == [[(0, "a1")], [(1, "b1")]]


def test_a_task_that_fails_again_is_dropped_and_takes_nobody_with_it():
    scheduler = scheduler_with("a0", "b0", "a1", slots=2)
    fill(scheduler)
    scheduler.retry_running()
    fill(scheduler)
    dropped = scheduler.retry_running()
    assert (names(dropped), dropped.slots) == (["a0"], (0,))
    assert drain(scheduler) == ["b0", "a1"]


def test_a_task_that_fails_by_itself_is_next_of_its_recording_and_in_company():
    scheduler = scheduler_with("a0", "b0", "a1", "b1", slots=2)
    fill(scheduler)
    assert scheduler.retry(0) is None
    assert fill(scheduler) == [[(0, "a0")]], "whose turn it is"
    assert scheduler.running == 2
    assert scheduler.retry(0).payload == "a0"
    assert drain(scheduler) == ["b1", "a1"]


def test_tasks_to_be_retried_can_be_canceled():
    scheduler = Scheduler(slots=3, encode_batch=3)
    for name in ("a0", "b0", "c0", "d0"):
        scheduler.submit(task(name))
    fill(scheduler)
    scheduler.retry_running()
    assert names(scheduler.cancel(ord("a"))) == ["a0"]
    assert names(scheduler.cancel(ord("b"))) == ["b0"]
    assert scheduler.waiting == 2
    assert drain(scheduler) == ["c0", "d0"]


def test_the_oldest_waiting_task_is_known():
    scheduler = Scheduler(slots=1, encode_batch=1)
    assert scheduler.oldest_submitted is None
    for name, submitted in (("a0", 1.0), ("b0", 2.0), ("a1", 3.0)):
        scheduler.submit(task(name, submitted=submitted))
    for oldest in (1.0, 2.0, 3.0, None):
        assert scheduler.oldest_submitted == oldest
        fill(scheduler)
        if scheduler.running:
            scheduler.finish(0)
    fill(scheduler)
