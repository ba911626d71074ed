"""Server-sent events over a real socket: order, resumption, and what ends a stream."""

import asyncio
import json

import pytest

from tests.integration.event_streams import (
    STREAM,
    URL,
    Gated,
    events_of,
    files,
    resume,
    serving,
    streaming,
    take,
)
from tests.integration.serving import recording
from tests.unit.service.metric_values import sample
from tests.waiting import until

# What is sent


async def test_events_come_in_order_with_running_numbers_and_the_answers_notes(tmp_path):
    async with serving(tmp_path) as client:
        async with streaming(client) as response:
            events = [event async for event in events_of(response)]
        answer = (await client.post(URL, content=recording(9.0))).json()
    assert [e.id for e in events] == list(range(1, len(events) + 1))
    # Five segments of a piano's note and a drum's each.
    segment = ["segment", "note", "note", "progress"]
    final = 10 * ["final_note"]
    assert [e.name for e in events] == ["transcription.started", *5 * segment, *final, "completed"]
    notes = [e.data for e in events if e.name == "final_note"]
    order = ("start_time", "is_drum", "program", "pitch", "end_time")
    notes.sort(key=lambda note: [note[name] for name in order])
    assert [{k: v for k, v in note.items() if k != "type"} for note in notes] == answer["notes"]
    assert [e.data["index"] for e in events if e.name == "segment"] == [0, 1, 2, 3, 4]
    fractions = [e.data["fraction"] for e in events if e.name == "progress"]
    assert fractions == sorted(fractions)
    assert fractions[0] == pytest.approx(2.048 / 9, abs=1e-4)
    assert fractions[-1] == 1.0
    completed = events[-1].data["transcription"]
    assert completed.keys() == answer.keys() - {"notes"}
    for name in ("tracks", "warnings", "options", "model", "duration_seconds"):
        assert completed[name] == answer[name]
    started = events[0].data
    assert started["duration_seconds"] == 9.0
    assert (started["id"], started["created"]) == (completed["id"], completed["created"])
    assert started["options"] == answer["options"]
    assert files(tmp_path) == []


async def test_the_headers_are_those_of_an_event_stream(tmp_path):
    async with serving(tmp_path) as client, streaming(client) as response:
        (started,) = await take(events_of(response), 1)
        headers = response.headers
    assert headers["content-type"] == "text/event-stream; charset=utf-8"
    assert headers["cache-control"] == "no-store"
    assert headers["x-accel-buffering"] == "no"
    assert headers["location"] == f"{URL}/{started.data['id']}/events"
    names = [item.split(";")[0].strip() for item in headers["server-timing"].split(",")]
    assert names == ["upload", "open", "total"]


async def test_without_a_clean_up_the_notes_are_final(tmp_path):
    async with serving(tmp_path) as client, streaming(client, postprocess="none") as response:
        names = {event.name async for event in events_of(response)}
    assert "note" in names
    assert "final_note" not in names


async def test_a_form_may_ask_for_a_stream(tmp_path):
    async with (
        serving(tmp_path) as client,
        client.stream(
            "POST", URL, files={"file": recording()}, data=STREAM,
            headers={"Accept": "text/event-stream"},
        ) as response,
    ):  # fmt: skip
        names = [event.name async for event in events_of(response)]
    assert names[-1] == "completed"


async def test_the_range_keeps_the_recordings_clock(tmp_path):
    async with serving(tmp_path) as client, streaming(client, start="1", end="3.5") as response:
        events = [event async for event in events_of(response)]
    assert [e.data["start_time"] for e in events if e.name == "note"] == [1.5, 1.0, 3.54, 3.04]
    assert [e.data["start"] for e in events if e.name == "segment"] == [1.0, 3.04]
    assert events[0].data["duration_seconds"] == 2.5


async def test_a_warning_is_an_event_and_in_the_answer(tmp_path):
    async with (
        serving(tmp_path) as client,
        client.stream("POST", URL, params=STREAM, content=recording(4.0)[:100_000]) as response,
    ):
        events = [event async for event in events_of(response)]
    warnings = [{k: v for k, v in e.data.items() if k != "type"} for e in events
                if e.name == "warning"]  # fmt: skip
    assert [w["code"] for w in warnings] == ["truncated_audio"]
    assert events[-1].data["transcription"]["warnings"] == warnings


async def test_the_first_notes_come_while_later_segments_wait(tmp_path):
    backend = Gated()
    async with serving(tmp_path, backend) as client, streaming(client) as response:
        events = events_of(response)
        assert [e.name for e in await take(events, 1)] == ["transcription.started"]
        backend.open(1)  # the first segment alone: the second is in the slot beside it
        assert [e.name for e in await take(events, 4)] == ["segment", "note", "note", "progress"]
        backend.open(3)
        assert [e.data["index"] for e in await take(events, 8) if e.name == "segment"] == [1, 2]
        backend.open(5)
        assert [e async for e in events][-1].name == "completed"


async def test_heartbeats_come_where_nothing_happens(tmp_path):
    backend = Gated()
    comments = []
    async with (
        serving(tmp_path, backend, stream_heartbeat_seconds=0.05) as client,
        streaming(client) as response,
    ):
        events = events_of(response, comments)
        await take(events, 1)
        waiting = asyncio.create_task(anext(events))
        await until(lambda: len(comments) >= 3)
        assert not waiting.done()
        backend.open(9)
        assert (await waiting).name == "segment"
        assert [e async for e in events][-1].name == "completed"


# Resuming


async def test_a_lost_connection_is_taken_up_without_a_gap(tmp_path):
    backend = Gated()
    async with serving(tmp_path, backend) as client:
        async with streaming(client) as response:
            events = events_of(response)
            backend.open(2)
            seen = await take(events, 3)  # up to the first of the two notes of a segment
            location = response.headers["location"]
        await until(lambda: sample(client.service.metrics, "mt3_streams_open") == 0)
        resuming = asyncio.create_task(resume(client, location, after=seen[-1].id))
        await until(lambda: sample(client.service.metrics, "mt3_streams_open") == 1)
        backend.open(9)
        rest = await resuming
        whole = await resume(client, location)
        assert sample(client.service.metrics, "mt3_stream_resumes_total") == 2
    assert [e.id for e in rest] == list(range(4, 33))
    assert seen + rest == whole
    assert whole[-1].name == "completed"


async def test_several_readers_follow_one_stream(tmp_path):
    backend = Gated()
    async with serving(tmp_path, backend) as client, streaming(client) as response:
        events = events_of(response)
        started = await take(events, 1)
        readers = [
            asyncio.create_task(resume(client, response.headers["location"])) for _ in range(3)
        ]
        await until(lambda: sample(client.service.metrics, "mt3_streams_open") == 4)
        backend.open(9)
        first = started + [e async for e in events]
        assert await asyncio.gather(*readers) == [first] * 3


async def test_a_reader_who_does_not_read_holds_up_nobody(tmp_path):
    seconds = 3_000.0  # 1,465 segments: 1 MB of events, more than a socket's buffers hold
    body = recording(seconds, sample_rate=1_000)
    head = (
        f"POST {URL}?stream=true HTTP/1.1\r\nHost: test\r\nContent-Type: audio/wav\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    )
    async with serving(tmp_path) as client:
        _, writer = await asyncio.open_connection("127.0.0.1", client.port, limit=2**10)
        writer.write(head.encode() + body)
        await until(lambda: client.service.transcriber.admissions.waiting_audio_seconds > 0)
        async with streaming(client) as response:
            assert [e async for e in events_of(response)][-1].name == "completed"
        # The stream continues to its end without readers.
        await until(lambda: files(tmp_path) == [])
        assert client.service.transcriber.admissions.waiting_audio_seconds == 0
        writer.close()


async def test_only_its_own_caller_may_resume_a_stream(tmp_path):
    async with serving(tmp_path, api_keys=f"alice:{32 * 'a'},bob:{32 * 'b'}") as client:
        alice, bob = ({"X-API-Key": 32 * letter} for letter in "ab")
        async with client.stream(
            "POST", URL, params=STREAM, content=recording(), headers=alice
        ) as response:
            location = response.headers["location"]
            events = [event async for event in events_of(response)]
        other = await client.get(location, headers=bob)
        assert await resume(client, location, headers=alice) == events
    assert (other.status_code, other.json()["code"]) == (404, "stream_not_found")


@pytest.mark.parametrize("name", ["tr_0", "x" * 3_000, "%00", "..%2f.."])
async def test_an_unknown_stream_is_not_found(tmp_path, name):
    async with serving(tmp_path) as client:
        response = await client.get(f"{URL}/{name}/events")
    assert response.status_code == 404


@pytest.mark.parametrize("last", ["", "-1", "x", "1.5", "4", "9" * 5_000, "²"])
async def test_a_last_event_id_that_is_none_of_the_streams_is_refused(tmp_path, last):
    backend = Gated()
    async with serving(tmp_path, backend) as client, streaming(client) as response:
        await take(events_of(response), 1)
        refused = await client.get(
            response.headers["location"], headers={"Last-Event-ID": last.encode()}
        )
    assert (refused.status_code, refused.json()["param"]) == (422, "Last-Event-ID")


async def test_nothing_after_the_last_event_is_said_as_such(tmp_path):
    async with serving(tmp_path) as client:
        async with streaming(client) as response:
            events = [event async for event in events_of(response)]
        last = {"Last-Event-ID": str(events[-1].id)}
        again = await client.get(response.headers["location"], headers=last)
    assert (again.status_code, again.content) == (204, b"")


async def test_an_ended_stream_is_forgotten_after_a_while(tmp_path):
    async with serving(tmp_path, stream_resume_seconds=0.0) as client:
        async with streaming(client) as response:
            assert [event async for event in events_of(response)][-1].name == "completed"
        async with asyncio.timeout(400):
            while (gone := await client.get(response.headers["location"])).status_code != 404:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
    assert (gone.status_code, gone.json()["code"]) == (404, "stream_not_found")


async def test_of_ended_streams_the_oldest_is_forgotten_first(tmp_path, monkeypatch):
    monkeypatch.setattr("service.api.stream_registry.MAX_ENDED_EVENTS", 10)
    locations = []
    async with serving(tmp_path) as client:
        for _ in range(3):  # five events each: started, segment, two notes... and the rest
            async with streaming(client, seconds=0.5, postprocess="none") as response:
                assert [e.id async for e in events_of(response)][-1] == 6
                locations.append(response.headers["location"])
        found = [(await client.get(location)).status_code for location in locations]
    assert found == [404, 404, 200]


# What ends a stream


async def test_a_stream_without_readers_is_canceled_with_its_segments_and_file(tmp_path):
    backend = Gated()
    async with serving(tmp_path, backend, stream_resume_seconds=0.1) as client:
        async with streaming(client) as response:
            await take(events_of(response), 1)
            assert files(tmp_path)
            assert client.service.transcriber.admissions.waiting_audio_seconds == 9.0
        await until(lambda: client.service.transcriber.admissions.waiting_audio_seconds == 0)
        await until(lambda: files(tmp_path) == [])
        gone = await client.get(response.headers["location"])
        ended = sample(client.service.metrics, "mt3_transcriptions_total", outcome="canceled")
        assert ended == 1
    assert gone.status_code == 404


async def test_a_stream_goes_on_while_its_client_may_come_back(tmp_path):
    backend = Gated()
    async with serving(tmp_path, backend) as client:
        async with streaming(client) as response:
            await take(events_of(response), 1)
        await until(lambda: sample(client.service.metrics, "mt3_streams_open") == 0)
        backend.open(9)
        await until(lambda: files(tmp_path) == [])  # it ended without a reader
        assert (await resume(client, response.headers["location"]))[-1].name == "completed"


async def test_a_failure_in_the_midst_is_an_error_event(tmp_path):
    backend = Gated(opened=1)
    async with serving(tmp_path, backend) as client:
        async with streaming(client) as response:
            events = events_of(response)
            await take(events, 5)
            backend.broken = True
            *_, error = [event async for event in events]
        request_id = response.headers["x-request-id"]
        backend.broken = False
        assert files(tmp_path) == []
        counted = sample(client.service.metrics, "mt3_errors_total", code="engine_failure")
        assert counted == 1
    assert error.name == "error"
    assert (error.data["status"], error.data["code"]) == (503, "engine_failure")
    assert error.data["request_id"] == request_id
    assert error.data["retry_after_seconds"] > 0
    assert "secret" not in json.dumps(error.data)


async def test_a_fault_of_ours_in_the_midst_tells_nothing_but_its_id(tmp_path, monkeypatch):
    def fail(*_, **__):
        raise RuntimeError("secret detail")

    monkeypatch.setattr("mt3_model.notes.assembling.RecordingAssembler.finish", fail)
    async with serving(tmp_path) as client, streaming(client) as response:
        *_, error = [event async for event in events_of(response)]
    assert (error.name, error.data["code"]) == ("error", "internal_error")
    assert "secret" not in json.dumps(error.data)


async def test_a_stream_is_kept_while_one_of_its_readers_is_there(tmp_path, monkeypatch):
    monkeypatch.setattr("service.api.stream_registry.FIRST_READER_SECONDS", 0.5)
    backend = Gated()
    async with (
        serving(tmp_path, backend, stream_resume_seconds=0.5) as client,
        streaming(client) as first,
    ):
        events = events_of(first)
        await take(events, 1)
        async with client.stream("GET", first.headers["location"]) as second:
            await take(events_of(second), 1)
        await until(lambda: sample(client.service.metrics, "mt3_streams_open") == 1)
        # A stream without readers continues for this time: another one without readers ends
        # meanwhile.
        async with streaming(client) as unread:
            await take(events_of(unread), 1)
        await until(
            lambda: sample(client.service.metrics, "mt3_transcriptions_total", outcome="canceled")
        )
        backend.open(9)
        assert [e async for e in events][-1].name == "completed"


async def test_a_server_that_ends_does_not_wait_for_who_is_gone(tmp_path):
    backend = Gated()
    async with serving(tmp_path, backend, stream_resume_seconds=600.0) as client:
        async with streaming(client) as response:
            await take(events_of(response), 1)
        await until(lambda: sample(client.service.metrics, "mt3_streams_open") == 0)
        transcriber = client.service.transcriber
        assert transcriber.admissions.waiting_audio_seconds == 9.0
        client.service.begin_draining()
        await until(lambda: transcriber.admissions.waiting_audio_seconds == 0)
        await until(lambda: files(tmp_path) == [])


async def test_a_server_that_ends_says_so_to_its_streams(tmp_path):
    backend = Gated()
    async with (
        serving(tmp_path, backend, shutdown_grace_seconds=0.2) as client,
        streaming(client) as response,
    ):
        events = events_of(response)
        await take(events, 1)
        client.service.begin_draining()
        (error,) = [event async for event in events]
        assert (error.data["code"], error.data["state"]) == ("not_ready", "draining")
        assert files(tmp_path) == []
