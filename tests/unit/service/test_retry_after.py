"""Refused callers get times one after the other."""

from service.engine.retry_after import MAX_RETRY_AFTER_SECONDS, RetryAfterEstimator


def give(estimator, now=0.0, *, room_after=10.0, audio_seconds=30.0, speed=2.0):
    return estimator.estimate(now, room_after=room_after, audio_seconds=audio_seconds, speed=speed)


def test_the_first_is_told_when_there_is_room():
    assert give(RetryAfterEstimator(bound_seconds=1_000)) == 10


def test_each_comes_after_those_before_it():
    estimator = RetryAfterEstimator(bound_seconds=1_000)
    # 30 s of audio at twice real time: room for the next after another 15 s.
    assert [give(estimator) for _ in range(4)] == [10, 25, 40, 55]


def test_a_promise_counts_until_it_is_due():
    estimator = RetryAfterEstimator(bound_seconds=1_000)
    assert give(estimator) == 10
    assert give(estimator, now=9.0) == 25
    assert give(estimator, now=10.0, room_after=4.0) == 19  # after the second, due at 34
    assert give(estimator, now=40.0) == 10


def test_those_that_never_come_back_cost_a_full_queue_at_most():
    estimator = RetryAfterEstimator(bound_seconds=100)
    estimates = [give(estimator) for _ in range(1_000)]
    assert max(estimates) == 10 + 100 / 2
    assert len(estimator._due) <= 5


def test_an_unknown_length_counts_as_the_usual_one():
    estimator = RetryAfterEstimator(bound_seconds=1_000)
    for _ in range(200):
        estimator.add_recording(19.9)  # and is never reached
    assert [give(estimator, audio_seconds=0.0) for _ in range(3)] == [10, 20, 30]


def test_nobody_is_told_to_wait_longer_than_an_hour_or_not_at_all():
    assert give(RetryAfterEstimator(bound_seconds=10.0), room_after=1e9) == MAX_RETRY_AFTER_SECONDS
    assert give(RetryAfterEstimator(bound_seconds=10.0), room_after=0.0) == 1
