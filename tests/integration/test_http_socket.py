"""The server behind a real socket: stalled and aborted bodies, disconnected clients, shutdown."""

import asyncio
import re

from tests.integration.listening import Held, listening
from tests.integration.serving import loader, recording
from tests.unit.service.metric_values import sample
from tests.waiting import until


def head(length, *headers):
    lines = [
        "POST /v1/transcriptions HTTP/1.1", "Host: test", "Content-Type: audio/wav",
        f"Content-Length: {length}", *headers,
    ]  # fmt: skip
    return "\r\n".join([*lines, "", ""]).encode()


async def test_a_request_over_the_wire_is_answered(tmp_path):
    async with listening(tmp_path) as (port, _):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        body = recording()
        writer.write(head(len(body), "Connection: close"))
        for start in range(0, len(body), 4_096):  # dribbled, as a slow line would
            writer.write(body[start : start + 4_096])
            await writer.drain()
        answer = await reader.read()
        writer.close()
    assert answer.startswith(b"HTTP/1.1 200 OK")
    assert b'"pitch":60' in answer


async def test_a_half_sent_body_leaves_nothing(tmp_path):
    async with listening(tmp_path) as (port, _):
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(head(1_000_000) + b"x" * 1_000)
        await writer.drain()
        await until(lambda: any(tmp_path.iterdir()))
        writer.close()
        await until(lambda: not any(tmp_path.iterdir()))


async def test_a_body_that_stops_is_answered_408(tmp_path):
    async with listening(tmp_path, upload_idle_timeout_seconds=0.2) as (port, _):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(head(1_000_000) + b"x" * 1_000)
        async with asyncio.timeout(400):
            status = await reader.readline()
            rest = await reader.read()
        writer.close()
    assert b"408" in status
    assert b"upload_timeout" in rest
    assert list(tmp_path.iterdir()) == []


async def test_a_body_that_dribbles_is_answered_408(tmp_path):
    async with listening(
        tmp_path, upload_idle_timeout_seconds=0.3, upload_min_bytes_per_second=1_000
    ) as (port, _):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(head(1_000_000))
        answer = asyncio.create_task(reader.readuntil(b"}"))
        async with asyncio.timeout(400):
            while not answer.done():  # never silent for the idle timeout
                writer.write(b"x")
                await asyncio.sleep(0.02)
        writer.close()
    assert b"408" in answer.result()
    assert b"expected at least 1,000 bytes a second" in answer.result()
    assert list(tmp_path.iterdir()) == []


async def test_a_slow_body_above_the_least_rate_is_taken(tmp_path):
    body = recording(0.1)
    async with listening(
        tmp_path, upload_idle_timeout_seconds=1.0, upload_min_bytes_per_second=1
    ) as (port, _):
        silence, silent = await asyncio.open_connection("127.0.0.1", port)
        silent.write(head(len(body)))
        idle_time = asyncio.create_task(silence.readline())
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(head(len(body), "Connection: close"))
        sent = 0
        async with asyncio.timeout(400):
            while not idle_time.done():  # longer than it may be silent
                writer.write(body[sent : sent + 10])
                sent += 10
                await asyncio.sleep(0.05)
        writer.write(body[sent:])
        answer = await reader.read()
        writer.close()
        silent.close()
    assert b"408" in idle_time.result()
    assert answer.startswith(b"HTTP/1.1 200 OK")


async def test_more_uploads_than_may_be_received_are_refused_and_room_is_used_again(tmp_path):
    async with listening(tmp_path, max_concurrent_uploads=1) as (port, service):
        body = recording()
        _, first = await asyncio.open_connection("127.0.0.1", port)
        first.write(head(len(body)) + body[:100])
        await until(lambda: sample(service.metrics, "mt3_upload_bytes_total") == 100)
        reader, second = await asyncio.open_connection("127.0.0.1", port)
        second.write(head(len(body)))
        async with asyncio.timeout(400):
            refused = await reader.read()
        second.close()
        first.close()
        await until(lambda: list(tmp_path.iterdir()) == [])
        reader, third = await asyncio.open_connection("127.0.0.1", port)
        third.write(head(len(body), "Connection: close") + body)
        taken = await reader.read()
        third.close()
        assert sample(service.metrics, "mt3_upload_bytes_total") == 100 + len(body)
    assert refused.startswith(b"HTTP/1.1 503")
    assert re.search(rb"retry-after: [1-5]\r", refused.lower())  # 5 s less the time that has passed
    assert b'"overloaded"' in refused
    assert taken.startswith(b"HTTP/1.1 200 OK")


async def test_slow_uploads_keep_nobody_out(tmp_path, monkeypatch):
    monkeypatch.setattr("service.api.uploads.upload_limiter.GRACE_SECONDS", 0.0)
    body = recording(60.0)  # more than a small body
    async with listening(
        tmp_path,
        max_concurrent_uploads=2,
        max_concurrent_uploads_per_caller=2,
        jobs=True,
        data_dir=tmp_path / "data",
    ) as (port, service):
        slow = []
        for count in (1, 2):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(head(len(body)) + body[:100])
            slow.append((reader, writer))
            await until(
                lambda c=count: sample(service.metrics, "mt3_upload_bytes_total") == 100 * c
            )
        small, reference = recording(), b'{"inputs": [{"url": "https://example.org/a"}]}'
        for content, path, media_type, status in (
            (small, "/v1/transcriptions", "audio/wav", b"200"),
            (reference, "/v1/jobs", "application/json", b"202"),
            (body, "/v1/transcriptions?end=1", "audio/wav", b"200"),
        ):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(
                f"POST {path} HTTP/1.1\r\nHost: test\r\nContent-Type: {media_type}\r\n"
                f"Content-Length: {len(content)}\r\nConnection: close\r\n\r\n".encode()
                + content
            )
            assert (await reader.read()).split()[1] == status
            writer.close()
        async with asyncio.timeout(400):
            done, _ = await asyncio.wait(
                [asyncio.ensure_future(reader.read()) for reader, _ in slow],
                return_when=asyncio.FIRST_COMPLETED,
            )
        (ended,) = done
        assert ended.result().startswith(b"HTTP/1.1 408")
        assert b"another upload was waiting" in ended.result()
        for _, writer in slow:
            writer.close()


async def test_a_start_sweeps_what_a_killed_server_left(tmp_path):
    left = tmp_path / "mt3-uploads-1-abcdefgh"
    left.mkdir()
    (left / "recording-1").write_bytes(b"sound")
    async with listening(tmp_path):
        assert list(tmp_path.iterdir()) == []


async def test_a_body_too_large_by_its_own_account_is_refused_before_it_is_sent(tmp_path):
    async with listening(tmp_path, max_upload_bytes=1_000) as (port, _):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(head(1_000_000, "Expect: 100-continue"))
        async with asyncio.timeout(400):
            status = await reader.readline()
        writer.close()
    assert b"413" in status


async def test_a_client_that_leaves_takes_its_waiting_segments_with_it(tmp_path):
    backend = Held()
    async with listening(tmp_path, load=loader(backend)) as (port, service):
        writers = []
        for seconds in (3.0, 9.0):
            _, writer = await asyncio.open_connection("127.0.0.1", port)
            body = recording(seconds)
            writer.write(head(len(body)) + body)
            writers.append(writer)
            expected = sum((3.0, 9.0)[: len(writers)])
            await until(
                lambda e=expected: service.transcriber.admissions.waiting_audio_seconds == e
            )
        await until(lambda: backend.inserted == 1)
        writers[1].close()  # its segments wait behind the other's
        await until(lambda: service.transcriber.admissions.waiting_audio_seconds == 3.0)
        await until(lambda: len(list(tmp_path.glob("*/*"))) == 1)
        writers[0].close()  # its first segment runs
        await until(lambda: service.transcriber.admissions.waiting_audio_seconds == 0.0)
        await until(lambda: not any(tmp_path.iterdir()))
        backend.go.set()
    assert backend.inserted == 1
