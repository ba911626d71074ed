"""Requests that cannot begin, over a real socket: each is refused with its status before any
event."""

import asyncio
import threading

import pytest

from service.auth.caller import ANONYMOUS, Caller, CallerLimits
from service.recordings import work
from tests.integration.event_streams import (
    STREAM,
    URL,
    Gated,
    events_of,
    files,
    serving,
    streaming,
    take,
)
from tests.integration.serving import recording
from tests.unit.service.metric_values import sample
from tests.waiting import until


@pytest.mark.parametrize(
    ("content", "params", "headers", "expected"),
    [
        (b"no audio", {}, {}, (400, "audio_undecodable")),
        (recording(), {"stream": "yes"}, {}, (422, "invalid_option")),
        (recording(), {"response_format": "midi"}, {}, (422, "invalid_option")),
        (recording(), {}, {"Accept": "audio/midi"}, (422, "invalid_option")),
        (recording(3.0), {"max": "1"}, {}, (422, "invalid_option")),
        (recording(5.0), {}, {}, (413, "audio_too_long")),
    ],
)
async def test_what_cannot_begin_is_an_ordinary_error(tmp_path, content, params, headers, expected):
    async with serving(tmp_path, max_audio_seconds=4.0) as client:
        response = await client.post(
            URL, params={**STREAM, **params}, content=content, headers=headers
        )
        assert files(tmp_path) == []
    assert response.headers["content-type"] == "application/problem+json"
    assert (response.status_code, response.json()["code"]) == expected


async def test_what_only_reading_on_finds_is_an_error_event(tmp_path):
    async with (
        serving(tmp_path) as client,
        client.stream("POST", URL, params=STREAM, content=recording(0.0)) as response,
    ):
        events = [event async for event in events_of(response)]
    assert [e.name for e in events] == ["transcription.started", "error"]
    assert (events[-1].data["status"], events[-1].data["code"]) == (400, "audio_empty")


@pytest.mark.parametrize("accept", ["*/*", "text/event-stream", "application/json", "text/*;q=0.1"])
async def test_a_stream_is_sent_to_who_accepts_events_or_json(tmp_path, accept):
    async with serving(tmp_path) as client:
        response = await client.post(
            URL, params=STREAM, content=recording(), headers={"Accept": accept}
        )
    assert response.headers["content-type"].startswith("text/event-stream")


async def test_accepting_events_alone_does_not_make_a_stream(tmp_path):
    async with serving(tmp_path) as client:
        response = await client.post(
            URL, content=recording(), headers={"Accept": "text/event-stream"}
        )
    assert response.status_code == 406
    assert "stream=true" in response.json()["detail"]


async def test_too_much_waiting_is_a_503_with_the_time_to_wait(tmp_path):
    backend = Gated()
    async with (
        serving(tmp_path, backend, max_waiting_audio_seconds=10.0) as client,
        streaming(client),
    ):
        refused = await client.post(URL, params=STREAM, content=recording(3.0))
    assert (refused.status_code, refused.json()["code"]) == (503, "overloaded")
    assert int(refused.headers["retry-after"]) > 0


async def test_more_requests_than_the_key_may_have_are_a_429(tmp_path, monkeypatch):
    limited = Caller(
        name="limited", scopes=ANONYMOUS.scopes, limits=CallerLimits(max_concurrent_requests=1)
    )
    monkeypatch.setattr("service.auth.key_store.ANONYMOUS", limited)
    backend = Gated()
    async with serving(tmp_path, backend) as client, streaming(client) as response:
        events = events_of(response)
        await take(events, 1)
        refused = await client.post(URL, content=recording())
        backend.open(9)
        assert [e async for e in events][-1].name == "completed"
        # The permit is free as soon as the last event is sent.
        assert (await client.post(URL, content=recording())).status_code == 200
    assert (refused.status_code, refused.json()["code"]) == (429, "quota_exceeded")
    assert int(refused.headers["retry-after"]) > 0
    assert "max_concurrent_requests" in refused.json()["detail"]


async def test_the_keys_own_limits_hold_below_the_servers(tmp_path, monkeypatch):
    limits = CallerLimits(max_upload_bytes=100_000, max_audio_seconds=2.0)
    limited = Caller(name="limited", scopes=ANONYMOUS.scopes, limits=limits)
    monkeypatch.setattr("service.auth.key_store.ANONYMOUS", limited)
    async with serving(tmp_path) as client:
        large = await client.post(URL, content=recording(4.0))
        long = await client.post(URL, content=recording(3.0))
        fine = await client.post(URL, content=recording(1.0))
    assert (large.status_code, large.json()["code"]) == (413, "upload_too_large")
    assert "100,000 bytes" in large.json()["detail"]
    assert (long.status_code, long.json()["code"]) == (413, "audio_too_long")
    assert "2 s" in long.json()["detail"]
    assert fine.status_code == 200


async def test_a_client_that_leaves_before_the_first_event_leaves_nothing(tmp_path, monkeypatch):
    may_open = threading.Event()
    opening = threading.Event()

    def slow(*arguments, **options):
        opening.set()
        assert may_open.wait(120)
        return opened(*arguments, **options)

    opened = work.open_recording
    monkeypatch.setattr(work, "open_recording", slow)
    async with serving(tmp_path) as client:
        body = recording()
        _, writer = await asyncio.open_connection("127.0.0.1", client.port)
        head = (
            f"POST {URL}?stream=true HTTP/1.1\r\nHost: test\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        writer.write(head.encode() + body)
        assert await asyncio.to_thread(opening.wait, 20)
        writer.close()
        # A later connection: the server has seen the end of the first before it answers this one.
        assert (await client.get("/health")).status_code == 200
        may_open.set()
        await until(lambda: files(tmp_path) == [])
        assert sample(client.service.metrics, "mt3_open_recordings") == 0
