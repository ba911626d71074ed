"""A wait on a scripted network and clock: events, polling, and a long outage of the server."""

import itertools

import httpx2
import pytest

from service.client import (
    ConnectionFailedError,
    NotFoundError,
    UnauthorizedError,
    WaitTimeoutError,
)
from service.client._async.streams import LAST_POLL_SECONDS
from tests.unit.service.client import scripted
from tests.unit.service.client.job_server import JOB_ID, job, progress, stream
from tests.unit.service.client.scripted import DROPPED, Async, Clock, Sync, refusal
from tests.unit.service.client.wire import stream_head

ENDED = job(status="succeeded", progress=progress(3, 3))


@pytest.fixture(params=[Sync(), Async()], ids=["sync", "async"])
def play(request):
    """Run a wait; ``answer`` is called with "events" or "job" and the time."""
    client = request.param

    def play(answer, *, timeout=None, budget=1_800.0, read_seconds=0.0):
        clock = Clock()

        def script(request):
            kind = "events" if request.url.path.endswith("/events") else "job"
            given = answer(kind, clock.now)
            if isinstance(given, dict):
                return httpx2.Response(200, json=given)
            return read(given) if isinstance(given, list) else given

        def read(pieces):
            for piece in pieces:
                clock.now += read_seconds
                yield piece

        reported, _, waits = scripted.play(
            client, script, lambda transport: client.watch(transport, JOB_ID, timeout),
            time=clock, budget_seconds=budget, draw=0.5,
        )  # fmt: skip
        return reported[-1], waits, reported

    return play


def test_a_job_that_has_ended_is_not_listened_to(play):
    asked = []

    def answer(kind, now):
        asked.append(kind)
        return ENDED

    assert play(answer)[0].status == "succeeded"
    assert asked == ["job"]


@pytest.mark.parametrize("useless", [refusal(404), refusal(406), ENDED, [b"data: {\n\n"]])
def test_where_no_events_can_be_had_the_job_is_asked_for_less_and_less_often(play, useless):
    asked = []

    def answer(kind, now):
        asked.append(kind)
        return useless if kind == "events" else ENDED if now > 200 else job()

    _, waits, _ = play(answer)
    assert asked.count("events") == 1
    assert waits == sorted(waits)
    assert (waits[0], waits[-1]) == (0.5, LAST_POLL_SECONDS)


def test_a_connection_that_drops_is_followed_by_another(play):
    heard = itertools.count(1)

    def answer(kind, now):
        if kind == "events":
            return [stream(("job.progress", progress(3, next(heard))))]
        return ENDED if now > 3 else job()

    _, waits, reported = play(answer)
    # Each connection received something, so the pause does not grow.
    assert set(waits) == {0.5}
    assert [entry.progress.items_done for entry in reported[:3]] == [0, 1, 2]


def test_a_state_heard_and_polled_is_told_once(play):
    def answer(kind, now):
        if kind == "events":
            return [stream(("job.progress", progress(3, 1)))]
        return ENDED if now > 0.5 else job(progress=progress(3, 1 if now else 0))

    assert [entry.progress.items_done for entry in play(answer)[2]] == [0, 1, 3]


def test_a_server_that_restarts_for_long_is_waited_for(play):
    def answer(kind, now):
        if 1 < now < 900:
            return DROPPED if now < 600 else refusal(503)
        return ENDED if now > 900 else [stream_head()] if kind == "events" else job()

    assert play(answer)[0].status == "succeeded"


def test_a_server_that_does_not_come_back_is_given_up_with_the_time_of_a_call(play):
    def answer(kind, now):
        return DROPPED if now else job()

    with pytest.raises(ConnectionFailedError, match="dropped"):
        play(lambda kind, now: refusal(404) if kind == "events" else answer(kind, now), budget=100)


def test_a_server_that_is_not_there_at_first_is_told_soon(play):
    times = []

    def answer(kind, now):
        times.append(now)
        return DROPPED

    with pytest.raises(ConnectionFailedError):
        play(answer)
    assert times[-1] < 10


@pytest.mark.parametrize(("status", "error"), [(404, NotFoundError), (401, UnauthorizedError)])
def test_what_will_not_pass_ends_a_wait(play, status, error):
    def answer(kind, now):
        return [stream_head()] if kind == "events" else refusal(status) if now else job()

    with pytest.raises(error):
        play(answer)


@pytest.mark.parametrize("timeout", [0.1, 5, 21, 300])
def test_a_time_is_kept_whatever_the_stream_says(play, timeout):
    last = []

    def answer(kind, now):
        last.append(now)
        # A heartbeat every 15 s, for ever.
        return [b": hello\n\n"] * 1_000 if kind == "events" else job()

    with pytest.raises(WaitTimeoutError, match="it continues"):
        play(answer, timeout=timeout, read_seconds=15.0)
    assert timeout - LAST_POLL_SECONDS <= last[-1] <= timeout
