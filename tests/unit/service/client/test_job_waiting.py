"""A wait's steps without a socket or a clock: listening, asking, a server that is away for long."""

import itertools
import json

import pytest

from service.client.errors import (
    ConnectionFailedError,
    NotFoundError,
    UnauthorizedError,
    WaitTimeoutError,
)
from service.client.job_following import LAST_PAUSE_SECONDS, wait
from service.client.retries import RetryPolicy
from service.client.steps import Close, Give, Lost, Read, Reply, Send, Wait
from tests.unit.service.client.job_server import JOB_ID, job, progress, stream, written
from tests.unit.service.client.wire import stream_head

LOST = Lost(reason="gone", broke_off=True)
HEADERS = {"content-type": "text/event-stream"}
ENDED = job(status="succeeded", progress=progress(3, 3))


def play(answer, *, timeout=None, budget=1_800.0, read_seconds=0.0, max_retries=5):
    """Performs a wait; ``answer`` is called with "events" or "job" and the time."""
    now, waits, told = 0.0, [], []
    policy = RetryPolicy(
        max_retries=max_retries, budget_seconds=budget, random=lambda: 0.5, clock=lambda: now,
        today=lambda: 0.0,
    )  # fmt: skip
    steps, outcome, pieces, is_open = wait(policy, JOB_ID, timeout), None, iter(()), False
    while True:
        try:
            step = steps.send(outcome)
        except StopIteration as end:
            assert not is_open
            return end.value, waits, told
        outcome = None
        match step:
            case Send():
                assert not is_open
                kind = "events" if step.path.endswith("/events") else "job"
                given = answer(kind, now)
                if isinstance(given, dict):
                    outcome = Reply(status=200, headers={}, body=written(given))
                elif isinstance(given, list):
                    pieces, is_open = iter(given), True
                    outcome = Reply(status=200, headers=HEADERS, body=b"")
                else:
                    outcome = given
            case Read():
                assert is_open
                now += read_seconds
                outcome = next(pieces, b"")
            case Close():
                is_open = False
            case Wait():
                waits.append(step.seconds)
                now += step.seconds
            case Give():
                told.append(step.value)


def refusal(status):
    return Reply(status=status, headers={}, body=json.dumps({"code": "x"}).encode())


def test_a_job_that_has_ended_is_not_listened_to():
    asked = []

    def answer(kind, now):
        asked.append(kind)
        return ENDED

    assert play(answer)[0].status == "succeeded"
    assert asked == ["job"]


@pytest.mark.parametrize("useless", [refusal(404), refusal(406), ENDED, [b"data: {\n\n"]])
def test_where_no_events_can_be_had_the_job_is_asked_for_less_and_less_often(useless):
    asked = []

    def answer(kind, now):
        asked.append(kind)
        return useless if kind == "events" else ENDED if now > 200 else job()

    _, waits, _ = play(answer)
    assert asked.count("events") == 1
    assert waits == sorted(waits)
    assert (waits[0], waits[-1]) == (0.5, LAST_PAUSE_SECONDS)


def test_a_connection_that_drops_is_followed_by_another():
    heard = itertools.count(1)

    def answer(kind, now):
        if kind == "events":
            return [stream(("job.progress", progress(3, next(heard))))]
        return ENDED if now > 3 else job()

    _, waits, told = play(answer)
    # Something was heard each time, so that the pause does not grow.
    assert set(waits) == {0.5}
    assert [entry.progress.items_done for entry in told[:3]] == [0, 1, 2]


def test_a_server_that_restarts_for_long_is_waited_for():
    def answer(kind, now):
        if 1 < now < 900:
            return LOST if now < 600 else refusal(503)
        return ENDED if now > 900 else [stream_head()] if kind == "events" else job()

    assert play(answer)[0].status == "succeeded"


def test_a_server_that_does_not_come_back_is_given_up_with_the_time_of_a_call():
    def answer(kind, now):
        return LOST if now else job()

    with pytest.raises(ConnectionFailedError, match="gone"):
        play(lambda kind, now: refusal(404) if kind == "events" else answer(kind, now), budget=100)


def test_a_server_that_is_not_there_at_first_is_told_soon():
    times = []

    def answer(kind, now):
        times.append(now)
        return LOST

    with pytest.raises(ConnectionFailedError):
        play(answer)
    assert times[-1] < 10


@pytest.mark.parametrize(("status", "error"), [(404, NotFoundError), (401, UnauthorizedError)])
def test_what_will_not_pass_ends_a_wait(status, error):
    def answer(kind, now):
        return [stream_head()] if kind == "events" else refusal(status) if now else job()

    with pytest.raises(error):
        play(answer)


@pytest.mark.parametrize("timeout", [0.1, 5, 21, 300])
def test_a_time_is_kept_whatever_the_stream_says(timeout):
    last = []

    def answer(kind, now):
        last.append(now)
        # A heartbeat every 15 s, for ever.
        return [b": hello\n\n"] * 1_000 if kind == "events" else job()

    with pytest.raises(WaitTimeoutError, match="it goes on"):
        play(answer, timeout=timeout, read_seconds=15.0)
    assert timeout - LAST_PAUSE_SECONDS <= last[-1] <= timeout
