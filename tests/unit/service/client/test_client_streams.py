"""Streams of both clients over a real socket, cut at critical positions."""

import contextlib
import itertools
import threading

import pytest

from service.client import (
    Client,
    Completed,
    ConnectionFailedError,
    ServerUnavailableError,
)
from tests.unit.service.client.client_calls import SOUND
from tests.unit.service.client.documents import LAST
from tests.unit.service.client.wire import (
    NEVER,
    chunk,
    events_between,
    following,
    stream_head,
    wire,
)


def check(events):
    """Check that all events arrive once, in order."""
    kinds = [type(event).__name__ for event in events]
    assert kinds == [
        "Started", "Progress", "Segment", "Note", "Progress", "TranscriptionWarning", "Segment",
        "Note", "Note", "Progress", "Completed",
    ]  # fmt: skip
    completed = events[-1]
    assert isinstance(completed, Completed)
    notes = [event for event in events if type(event).__name__ == "Note"]
    assert [note.pitch for note in notes] == [38, 60, 61]
    assert [note.pitch for note in completed.transcription.notes] == [60, 38, 61]


@pytest.mark.parametrize("chunked", [False, True])
@pytest.mark.parametrize("cut", range(LAST + 1))
def test_a_stream_cut_after_any_event_goes_on_exactly(ask, cut, chunked):
    wrap = chunk if chunked else bytes

    def script(request):
        first = following(request)
        yield stream_head(chunked=chunked, Location="/v1/transcriptions/tr_1/events")
        yield wrap(b"retry: 1\n\n: hello\n\n")
        if request.method == "POST":
            for event in events_between(1, cut):
                yield wrap(event)
            if cut < LAST:
                yield wrap(events_between(cut + 1)[0][:-1])  # all but the empty line
        else:
            for event in events_between(first):
                yield wrap(event)

    with wire(script) as (url, requests):
        check(ask(url, "stream", SOUND, options={"decoding": "greedy"}))
    assert [request.method for request in requests] == (
        ["POST"] if cut == LAST else ["POST", "GET"]
    )
    assert requests[0].query == {"decoding": "greedy", "stream": "true"}
    if cut < LAST:
        assert requests[1].path == "/v1/transcriptions/tr_1/events"
        assert requests[1].headers.get("last-event-id") == (str(cut) if cut else None)


def test_a_stream_cut_after_every_event_in_turn(ask):
    def script(request):
        first = following(request)
        yield stream_head()
        yield b"retry: 1\n\n" + events_between(first, first)[0]

    with wire(script) as (url, requests):
        check(ask(url, "stream", SOUND, max_retries=1))
    assert len(requests) == LAST


def test_a_stream_that_gives_nothing_ends_with_its_attempts(ask):
    with (
        wire(lambda _: [stream_head(), b"retry: 1\n\n"]) as (url, requests),
        pytest.raises(ConnectionFailedError, match="ended before"),
    ):
        ask(url, "stream", SOUND, max_retries=2)
    assert [request.method for request in requests] == ["POST"] * 3


def test_the_first_event_comes_before_the_last_is_there():
    go = threading.Event()

    def script(_):
        yield stream_head() + b"".join(events_between(1, 4))
        assert go.wait(120)
        yield b"".join(events_between(5))

    with wire(script) as (url, _), Client(url) as client:
        events = client.stream(SOUND)
        early = list(itertools.islice(events, 4))
        go.set()
        check(early + list(events))


def test_a_stream_left_early_lets_go_of_its_connection():
    with (
        wire(lambda _: [stream_head() + events_between(1, 1)[0], NEVER]) as (url, _),
        Client(url) as client,
    ):
        with contextlib.closing(client.stream(SOUND)) as events:
            next(events)
        pool = client._http._transport._pool
        assert pool.connections == []


def test_an_error_in_mid_stream_is_raised(ask):
    error = (
        b'id: 4\nevent: error\ndata: {"type": "error", "status": 503, "code": "engine_failure",'
        b' "title": "The device failed", "detail": "gone", "request_id": "r"}\n\n'
    )
    pieces = [stream_head(), *events_between(1, 3), error]
    with (
        wire(lambda _: pieces) as (url, requests),
        pytest.raises(ServerUnavailableError, match="gone") as caught,
    ):
        ask(url, "stream", SOUND)
    assert (caught.value.code, len(requests)) == ("engine_failure", 1)
