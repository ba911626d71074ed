"""Idle connections, too many connections, and other protocols: each ends, and the server
continues."""

import asyncio
import contextlib
import json

import httpx2
import uvicorn

from service.api.app import create_app
from service.api.connections import BoundedProtocol
from service.settings import Settings
from tests.integration.serving import loader, recording
from tests.waiting import until


@contextlib.asynccontextmanager
async def listening(tmp_path, *, max_connections=100, head_seconds=0.3, stall_seconds=0.3):
    """Run a server with short timeouts on a free port of the loopback; yield the port and uvicorn's
    server."""
    app = create_app(Settings(upload_dir=tmp_path), load=loader())
    protocol = BoundedProtocol.bounded(max_connections)
    protocol.head_seconds, protocol.stall_seconds = head_seconds, stall_seconds

    @app.get("/docs/endless")  # public, and longer than any buffer
    async def get_endless():
        return "x" * 30_000_000

    config = uvicorn.Config(
        app, port=0, http=protocol, log_config=None, access_log=False, server_header=False,
        timeout_keep_alive=20, timeout_graceful_shutdown=5,
    )  # fmt: skip
    # Before the page's files, which the same pattern would match.
    app.router.routes.insert(0, app.router.routes.pop())
    server = uvicorn.Server(config)
    serving = asyncio.create_task(server.serve())
    try:
        await until(lambda: server.started and app.state.service.state.value == "ready")
        yield server.servers[0].sockets[0].getsockname()[1], server
    finally:
        server.should_exit = True
        await serving


async def get_health(port):
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
    async with asyncio.timeout(400):
        answer = await reader.read()
    writer.close()
    return answer


@contextlib.asynccontextmanager
async def connected(port, **options):
    """Open a connection; close it at the end."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port, **options)
    try:
        yield reader, writer
    finally:
        writer.close()


async def pass_head_time(port):
    """Wait as long as a head may take: until the server closes a connection that sends none."""
    async with connected(port) as (silent, _):
        assert await ends(silent) == b""


async def ends(reader):
    """Return whether the server closes the connection, and what it sent before."""
    async with asyncio.timeout(400):
        return await reader.read()


async def test_silence_and_half_a_head_end(tmp_path):
    async with (
        listening(tmp_path) as (port, server),
        connected(port) as (silent, _),
        connected(port) as (half, writer),
    ):
        writer.write(b"POST /v1/transcriptions HTTP/1.1\r\nHost: localhost\r\nX-Slow: ")
        assert await ends(silent) == b""
        assert await ends(half) == b""
        await until(lambda: not server.server_state.connections)


async def test_a_head_in_drops_has_no_more_time(tmp_path):
    async with listening(tmp_path) as (port, _), connected(port) as (reader, writer):

        async def drip():
            for letter in "GET /health HTTP/1.1\r\nX: " + "x" * 10_000:
                writer.write(letter.encode())
                await writer.drain()
                await asyncio.sleep(0.05)

        dripping = asyncio.create_task(drip())
        assert await ends(reader) == b""
        assert not dripping.done(), "the head was never whole"
        dripping.cancel()
        await asyncio.wait({dripping})


async def test_the_second_head_of_a_connection_has_no_more_time(tmp_path):
    async with listening(tmp_path) as (port, _), connected(port) as (reader, writer):
        writer.write(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n")
        await reader.readuntil(b"}")
        await pass_head_time(port)  # idle between requests, which is allowed
        writer.write(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n")
        await reader.readuntil(b"}")
        writer.write(b"GET /he")
        assert await ends(reader) == b""


async def test_a_body_takes_the_time_it_needs(tmp_path):
    async with listening(tmp_path) as (port, _), connected(port) as (reader, writer):
        body = recording()
        writer.write(
            b"POST /v1/transcriptions HTTP/1.1\r\nHost: localhost\r\nContent-Type: audio/wav\r\n"
            b"Connection: close\r\nContent-Length: %d\r\n\r\n" % len(body)
        )
        writer.write(body[:2_000])
        await pass_head_time(port)
        writer.write(body[2_000:])
        assert (await ends(reader)).startswith(b"HTTP/1.1 200 OK")


async def test_an_answer_that_nobody_reads_ends(tmp_path):
    async with listening(tmp_path) as (port, server):
        _, writer = await asyncio.open_connection("127.0.0.1", port, limit=1_000)
        writer.write(b"GET /docs/endless HTTP/1.1\r\nHost: localhost\r\n\r\n")
        await until(lambda: server.server_state.connections)
        await until(lambda: not server.server_state.connections)
        writer.close()


async def test_an_answer_read_slowly_is_sent_whole(tmp_path):
    async with listening(tmp_path, stall_seconds=2.0) as (port, _):
        reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1_000_000)
        writer.write(b"GET /docs/endless HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        received = 0
        async with asyncio.timeout(400):
            while piece := await reader.read(2_000_000):
                received += len(piece)
                await asyncio.sleep(0.2)
        writer.close()
    assert received > 30_000_000


async def test_one_connection_too_many_is_told_so_and_the_rest_go_on(tmp_path):
    async with listening(tmp_path, max_connections=3, head_seconds=30) as (port, _):
        held = [await asyncio.open_connection("127.0.0.1", port) for _ in range(3)]
        refused = await get_health(port)
        assert refused.startswith(b"HTTP/1.1 503 Service Unavailable\r\n")
        assert b"\r\nRetry-After: 5\r\n" in refused
        problem = json.loads(refused.partition(b"\r\n\r\n")[2])
        assert problem["code"] == "too_many_connections"
        held.pop()[1].close()
        async with asyncio.timeout(400):
            while not (await get_health(port)).startswith(b"HTTP/1.1 200"):  # noqa: ASYNC110
                await asyncio.sleep(0.05)
        for _, writer in held:
            writer.close()


async def test_what_is_no_http_is_answered_as_a_problem(tmp_path):
    async with listening(tmp_path) as (port, _):
        for nonsense in (
            b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 TLS\r\n\r\n",
            b"GET / HTTP/1.1\r\n\r\n",  # without Host
            b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
            b"GET /\xff HTTP/1.1\r\nHost: a\r\n\r\n",
            b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        ):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(nonsense)
            answer = await ends(reader)
            writer.close()
            assert answer.startswith(b"HTTP/1.1 400 Bad Request\r\n"), nonsense
            assert b"X-Content-Type-Options: nosniff" in answer
            assert json.loads(answer.partition(b"\r\n\r\n")[2])["code"] == "malformed_request"
        assert (await get_health(port)).startswith(b"HTTP/1.1 200")


async def test_a_head_without_end_is_cut_off(tmp_path):
    async with listening(tmp_path, head_seconds=30) as (port, _):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET /health HTTP/1.1\r\nHost: localhost\r\n")
        with contextlib.suppress(ConnectionError):
            for _ in range(1_000):
                writer.write(b"X-Long: " + b"x" * 1_000 + b"\r\n")
                await writer.drain()
        with contextlib.suppress(ConnectionError):
            assert b"400 Bad Request" in await ends(reader)
        writer.close()
        assert (await get_health(port)).startswith(b"HTTP/1.1 200")


async def test_a_refusal_reaches_a_client_that_is_still_sending(tmp_path):
    async with (
        listening(tmp_path) as (port, _),
        httpx2.AsyncClient(base_url=f"http://127.0.0.1:{port}") as client,
    ):
        # Refused before the first byte is read, by the option; the body is more than any buffer.
        for _ in range(5):
            answer = await client.post("/v1/transcriptions?decoding=x", content=bytes(12_000_000))
            assert (answer.status_code, answer.headers["Connection"]) == (422, "close")


async def test_a_client_that_never_stops_sending_is_cut_off(tmp_path):
    async with listening(tmp_path) as (port, server), connected(port) as (reader, writer):
        writer.write(
            b"POST /v1/transcriptions?decoding=x HTTP/1.1\r\nHost: localhost\r\n"
            b"Content-Length: 1000000000\r\n\r\n"
        )
        sent = 0
        with contextlib.suppress(ConnectionError):
            while sent < 200_000_000:
                writer.write(bytes(1_000_000))
                await writer.drain()
                sent += 1_000_000
        assert sent < 100_000_000
        with contextlib.suppress(ConnectionError):
            assert b" 422 " in await reader.readuntil(b"\r\n")
        await until(lambda: not server.server_state.connections)


async def half_closed(port, request):
    """Return the response to a client that closes its sending side after a complete request."""
    async with connected(port) as (reader, writer), asyncio.timeout(400):
        writer.write(request)
        writer.write_eof()
        return await reader.read()


async def test_a_client_that_sends_no_more_is_answered(tmp_path):
    body = recording()
    post = (
        b"POST /v1/transcriptions?response_format=jsonl HTTP/1.1\r\nHost: localhost\r\n"
        b"Content-Type: audio/wav\r\nContent-Length: %d\r\n\r\n" % len(body)
    )
    get = b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n"
    async with listening(tmp_path) as (port, _):
        assert (await half_closed(port, get)).startswith(b"HTTP/1.1 200")
        both = await half_closed(port, get + get)
        assert both.count(b"HTTP/1.1 200") == 2, "one after the other"
        answer = await half_closed(port, post + body)
        assert b"HTTP/1.1 200" in answer
        assert answer.count(b"HTTP/1.1 100") == answer.count(b"HTTP/1.1") - 1
        assert await half_closed(port, post + body[:99]) == b"", "a request that is not whole"
        assert await half_closed(port, b"") == b""
        old = await half_closed(port, get.replace(b"1.1", b"1.0"))
        assert b" 200 " in old.split(b"\r\n")[0]


async def test_a_client_that_waits_for_a_slow_answer_gets_it_and_a_gone_one_is_noticed(
    tmp_path,
):
    async with listening(tmp_path) as (port, server):
        begun, gone, go_on = asyncio.Event(), asyncio.Event(), asyncio.Event()

        async def answer(scope, receive, send):
            await receive()
            begun.set()
            left = asyncio.create_task(receive())
            waiting = asyncio.create_task(go_on.wait())
            await asyncio.wait([left, waiting], return_when=asyncio.FIRST_COMPLETED)
            if left.done():
                gone.set()
                return
            left.cancel()
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": b"done"})

        server.config.loaded_app = answer
        request = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"
        async with connected(port) as (reader, writer), asyncio.timeout(400):
            writer.write(request)
            writer.write_eof()
            assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
            go_on.set()
            assert b"done" in await reader.read()
        go_on.clear()
        begun.clear()
        async with connected(port) as (_, writer), asyncio.timeout(400):
            writer.write(request)
            await begun.wait()
        async with asyncio.timeout(400):
            await gone.wait()
