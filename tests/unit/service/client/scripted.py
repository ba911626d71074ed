"""Streams of both clients on a scripted network, with a clock that only the test advances."""

import asyncio
import contextlib

import httpx2

from service.client._async import streams as async_streams
from service.client._async.transport import AsyncTransport
from service.client._requests import stream_request
from service.client._retries import RetryPolicy
from service.client._sync import streams as sync_streams
from service.client._sync.transport import Transport
from service.client._uploads import Upload

HEADERS = {
    "content-type": "text/event-stream; charset=utf-8",
    "location": "/v1/transcriptions/tr_1/events",
}
URL = "http://mt3.example"
REFUSED, DROPPED = httpx2.ConnectError("refused"), httpx2.ReadError("dropped")


def refusal(status, code="x"):
    return httpx2.Response(status, json={"code": code})


class Clock:
    """A clock in seconds that a client's waits advance."""

    def __init__(self):
        self.now = 0.0
        self.waits = []

    def sleep(self, seconds):
        self.waits.append(seconds)
        self.now += seconds

    async def async_sleep(self, seconds):
        self.sleep(seconds)


class Network(httpx2.BaseTransport, httpx2.AsyncBaseTransport):
    """Answers each request with what the script returns for it.

    That is a response, an exception, or the pieces of an event stream, of which one may be an
    exception. A connection that is open when the next request comes is an error.
    """

    def __init__(self, script):
        self.script = script
        self.requests = []
        self.open_streams = 0

    def handle_request(self, request):
        request.read()
        return self.answer(request)

    async def handle_async_request(self, request):
        await request.aread()
        return self.answer(request)

    def answer(self, request):
        assert self.open_streams == 0
        self.requests.append(request)
        outcome = self.script(request)
        if isinstance(outcome, Exception):
            raise outcome
        if isinstance(outcome, httpx2.Response):
            # A new one, because a test may return the same one twice.
            return httpx2.Response(
                outcome.status_code, headers=outcome.headers, content=outcome.content
            )
        self.open_streams += 1
        return httpx2.Response(200, headers=HEADERS, stream=Pieces(outcome, self))


class Pieces(httpx2.SyncByteStream, httpx2.AsyncByteStream):
    def __init__(self, pieces, network):
        self.pieces = pieces
        self.network = network

    def __iter__(self):
        for piece in self.pieces:
            if isinstance(piece, Exception):
                raise piece
            yield piece

    async def __aiter__(self):
        for piece in self:
            yield piece

    def close(self):
        self.network.open_streams -= 1

    async def aclose(self):
        self.close()


class Sync:
    def stream(self, transport, request):
        return sync_streams.stream_transcription(transport, request)

    def watch(self, transport, *arguments):
        return sync_streams.JobWatch(transport, *arguments).states()

    def collect(self, network, clock, policy, make, given):
        with (
            httpx2.Client(transport=network, base_url=URL) as http,
            contextlib.closing(make(Transport(http, policy, clock.sleep))) as values,
        ):
            for value in values:
                given.append(value)


class Async:
    def stream(self, transport, request):
        return async_streams.stream_transcription(transport, request)

    def watch(self, transport, *arguments):
        return async_streams.AsyncJobWatch(transport, *arguments).states()

    def collect(self, network, clock, policy, make, given):
        async def collect():
            async with httpx2.AsyncClient(transport=network, base_url=URL) as http:
                transport = AsyncTransport(http, policy, clock.async_sleep)
                async with contextlib.aclosing(make(transport)) as values:
                    async for value in values:
                        given.append(value)

        asyncio.run(collect())


def play(client, script, make, *, time=None, given=None, draw=1.0, **settings):
    """Collects what a generator of the client yields.

    Returns:
        The values, the requests, and the waits.
    """
    time = time or Clock()
    policy = RetryPolicy(
        random=lambda: draw, now=lambda: 0.0,
        **{"max_retries": 5, "budget_seconds": None, "clock": lambda: time.now, **settings},
    )  # fmt: skip
    network = Network(script)
    given = [] if given is None else given
    client.collect(network, time, policy, make, given)
    assert network.open_streams == 0
    return given, network.requests, time.waits


def play_stream(client, script, *, recording=b"", **settings):
    request = stream_request(Upload(recording), {})
    return play(client, script, lambda transport: client.stream(transport, request), **settings)
