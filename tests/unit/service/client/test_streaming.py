"""A stream on a scripted network: cut at every byte, doubled, with gaps, lost by the server."""

import itertools

import httpx2
import pytest

from service.client import (
    APIError,
    Completed,
    ConnectionFailedError,
    NotFoundError,
    ServerUnavailableError,
    UnexpectedAnswerError,
)
from tests.unit.service.client.documents import EVENTS, LAST, event_text
from tests.unit.service.client.scripted import (
    DROPPED,
    HEADERS,
    REFUSED,
    Async,
    Sync,
    play_stream,
    refusal,
)
from tests.unit.service.client.wire import events_between

WHOLE = b"".join(events_between(1))


class Pipe:
    """Return a recording that can be sent only once."""

    def read(self, _size, /):
        return b""


@pytest.fixture(params=[Sync(), Async()], ids=["sync", "async"])
def play(request):
    """Run a stream with either client."""
    return lambda script, **settings: play_stream(request.param, script, **settings)


def after(request):
    """Return the bytes after the last event that the request has seen."""
    return b"".join(events_between(int(request.headers.get("last-event-id", 0)) + 1))


@pytest.fixture(scope="module")
def expected():
    events, _, _ = play_stream(Sync(), lambda _: [WHOLE])
    assert len(events) == LAST
    return events


def test_the_answer_of_a_stream_holds_its_notes_by_onset(expected):
    assert isinstance(expected[-1], Completed)
    notes = expected[-1].transcription.notes
    assert [(note.start_time, note.pitch) for note in notes] == [(0.0, 60), (0.5, 38), (2.5, 61)]


@pytest.mark.slow
def test_a_stream_cut_at_any_byte_gives_each_event_once(expected):
    # Every seventh byte, and those beside an event's end; one client is generated from the other.
    ends = {len(b"".join(events_between(1, n))) for n in range(1, LAST + 1)}
    beside = {end + step for end in ends for step in (-2, -1, 0, 1)}
    for cut in sorted({*range(0, len(WHOLE), 7), *beside}):
        first = itertools.count()

        def connect(request, first=first, cut=cut):
            return [WHOLE[:cut]] if next(first) == 0 else [after(request)]

        events, requests, _ = play_stream(Sync(), connect)
        assert events == expected, cut
        seen = sum(cut >= len(b"".join(events_between(1, n))) for n in range(1, LAST + 1))
        assert [r.method for r in requests] == (["POST"] if seen == LAST else ["POST", "GET"])
        if 0 < seen < LAST:
            assert requests[1].headers["last-event-id"] == str(seen)


def test_a_stream_that_gives_one_byte_at_a_time(play, expected):
    events, _, _ = play(lambda _: [WHOLE[n : n + 1] for n in range(len(WHOLE))])
    assert events == expected


def test_events_already_given_are_passed_over(play, expected):
    # A server that goes back further than it was asked to.
    first = itertools.count()
    events, _, _ = play(lambda _: [b"".join(events_between(1, 6))] if next(first) == 0 else [WHOLE])
    assert events == expected


def test_a_gap_is_asked_for_again(play, expected):
    gap = b"".join([*events_between(1, 3), *events_between(5)])
    first = itertools.count()
    events, requests, _ = play(lambda r: [gap] if next(first) == 0 else [after(r)])
    assert events == expected
    assert requests[1].headers["last-event-id"] == "3"


def test_a_gap_that_stays_is_told(play):
    with pytest.raises(UnexpectedAnswerError, match="event 5 of the stream came after event 3"):
        play(
            lambda r: (
                [b"".join(events_between(1, 3) + events_between(5))]
                if r.method == "POST"
                else [b"".join(events_between(5))]
            ),
            max_retries=2,
        )


def test_attempts_count_in_a_row_and_waits_double(play, expected):
    # 20 losses in all, never more than two in a row without an event.
    turns = itertools.count()

    def connect(request):
        turn = next(turns)
        if turn % 3 or turn == 0:
            first = int(request.headers.get("last-event-id", 0)) + 1
            return [b"".join(events_between(first, first)), DROPPED]
        return REFUSED

    events, requests, waits = play(connect, max_retries=2)
    assert events == expected
    assert len(requests) > LAST
    assert set(waits) == {0.5, 1.0}


def test_the_server_says_how_long_to_wait_first(play):
    turns = itertools.count()

    def connect(request):
        match next(turns):
            case 0:
                return [b"retry: 3000\n\n", *events_between(1, 1)]
            case 1:
                return REFUSED
            case _:
                return [after(request)]

    _, _, waits = play(connect)
    assert waits == [3.0, 6.0]


def test_time_is_counted_without_a_new_event(play):
    now = itertools.count(step=10)  # each look at the clock is 10 s later

    def connect(request):
        first = int(request.headers.get("last-event-id", 0)) + 1
        return [b"".join(events_between(first, first)), DROPPED]

    events, _, _ = play(connect, budget_seconds=60, clock=lambda: next(now))
    assert len(events) == LAST
    with pytest.raises(ConnectionFailedError, match="dropped"):
        play(lambda _: [DROPPED], budget_seconds=60, clock=lambda: next(now))


@pytest.mark.parametrize("status", [429, 502, 503, 504])
def test_a_refusal_that_passes_is_tried_again_when_resuming_too(play, expected, status):
    turns = itertools.count()

    def connect(request):
        match next(turns):
            case 0 | 2:
                return refusal(status)
            case 1:
                return [b"".join(events_between(1, 5))]
            case _:
                return [after(request)]

    events, requests, _ = play(connect)
    assert events == expected
    assert [r.method for r in requests] == ["POST", "POST", "GET", "GET"]


def test_a_stream_that_the_server_forgot_before_its_first_event_begins_anew(play, expected):
    turns = itertools.count()

    def connect(request):
        match next(turns):
            case 0:
                return [b": connected\n\n"]
            case 1:
                return refusal(404, "stream_not_found")
            case _:
                return [after(request)]

    events, requests, _ = play(connect)
    assert events == expected
    assert [r.method for r in requests] == ["POST", "GET", "POST"]


def test_a_stream_that_the_server_forgot_later_is_lost(play):
    given, methods = [], []

    def connect(request):
        methods.append(request.method)
        if request.method == "GET":
            return refusal(404, "stream_not_found")
        return [b"".join(events_between(1, 3))]

    with pytest.raises(NotFoundError) as caught:
        play(connect, given=given)
    assert caught.value.code == "stream_not_found"
    assert len(given) == 3
    # Not restarted: another transcription's events would follow those of the first.
    assert methods == ["POST", "GET"]


def test_what_cannot_be_sent_again_is_resumed_all_the_same(play, expected):
    first = itertools.count()
    events, requests, _ = play(
        lambda r: [b""] if next(first) == 0 else [after(r)], recording=Pipe()
    )
    assert events == expected
    assert [r.method for r in requests] == ["POST", "GET"]
    with pytest.raises(NotFoundError):
        play(lambda r: [b""] if r.method == "POST" else refusal(404), recording=Pipe())
    with pytest.raises(ConnectionFailedError):
        play(lambda _: REFUSED, recording=Pipe())


def test_an_error_ends_the_stream(play):
    error = event_text(
        4,
        "error",
        {"status": 503, "code": "engine_failure", "detail": "d", "retry_after_seconds": 7},
    )
    given = []
    with pytest.raises(ServerUnavailableError) as caught:
        play(lambda _: [*events_between(1, 3), error, *events_between(5)], given=given)
    assert (caught.value.code, caught.value.retry_after) == ("engine_failure", 7.0)
    assert len(given) == 3


def test_an_event_of_a_later_server_is_passed_over(play, expected):
    pieces = [
        *events_between(1, 2),
        event_text(3, "tempo", {"bpm": 120}),
        *(event_text(n + 1, *EVENTS[n - 1]) for n in range(3, LAST + 1)),
    ]
    events, _, _ = play(lambda _: pieces)
    assert events == expected


@pytest.mark.parametrize(
    "text",
    [
        b"event: progress\ndata: {}\n\n",
        b"id: x\nevent: progress\ndata: {}\n\n",
        b"id: -1\nevent: progress\ndata: {}\n\n",
        b"id: 1\nevent: progress\ndata: {}\n\n",
        b"id: 1\nevent: progress\ndata: no\n\n",
        b"id: 1\nevent: completed\ndata: {}\n\n",
        event_text(1, EVENTS[0][0], {**EVENTS[0][1], "id": "../../v1/keys"}),
    ],
)
def test_what_is_not_our_stream_is_told(play, text):
    with pytest.raises(UnexpectedAnswerError):
        play(lambda _: [text])


def test_a_server_that_does_not_stream_is_told(play):
    with pytest.raises(UnexpectedAnswerError, match="cannot stream"):
        play(lambda _: httpx2.Response(200, json={}))


def test_a_location_is_taken_for_its_id_alone(play, expected):
    """A server, or what stands before it, cannot send the key and the resumption elsewhere."""

    def connect(request):
        if request.method == "GET":
            return [after(request)]
        headers = {**HEADERS, "location": "http://evil.example/v1/transcriptions/tr_1/events"}
        return httpx2.Response(200, headers=headers, content=b": hello\n\n")

    events, requests, _ = play(connect)
    assert events == expected
    assert str(requests[1].url) == "http://mt3.example/v1/transcriptions/tr_1/events"


def test_errors_of_events_are_of_the_tree():
    assert issubclass(ServerUnavailableError, APIError)
