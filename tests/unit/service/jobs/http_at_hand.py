"""A scripted web server, and a network whose names lead to it."""

import asyncio
import contextlib
import socket

import httpcore2
import pytest

PUBLIC = "93.184.216.34"
OTHER = "93.184.216.35"
_REAL = httpcore2.AnyIOBackend


class LocalServer:
    """Answers each path with its bytes or by its function; records the requests."""

    def __init__(self):
        self.answers = {}
        self.requests = []
        """(path, headers by lower-case name, body)."""

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}"

    @contextlib.asynccontextmanager
    async def running(self, tls=None, port=0):
        server = await asyncio.start_server(self._serve, "127.0.0.1", port, ssl=tls)
        self.port = server.sockets[0].getsockname()[1]
        self._tasks = set()
        try:
            yield self
        finally:
            server.close()
            for task in list(self._tasks):
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _serve(self, reader, writer):
        task = asyncio.current_task()
        self._tasks.add(task)
        try:
            with contextlib.suppress(OSError, asyncio.IncompleteReadError):
                await self._answer(reader, writer)
        finally:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()
            self._tasks.discard(task)

    async def _answer(self, reader, writer):
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        headers = {
            name.lower(): value.strip()
            for name, _, value in (line.partition(":") for line in head[1:] if line)
        }
        body = await reader.readexactly(int(headers.get("content-length", 0)))
        path = head[0].split(" ")[1]
        self.requests.append((path, headers, body))
        answer = self.answers[path.partition("?")[0]]
        if callable(answer):
            answer = await answer(writer, headers, body)
        if answer is not None:
            writer.write(answer)
        await writer.drain()


def ok(body=b"sound", headers=()):
    return reply(200, body, headers)


def reply(status, body=b"", headers=()):
    lines = [f"HTTP/1.1 {status} X", f"Content-Length: {len(body)}", "Connection: close", *headers]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def redirect(location, status=302):
    return reply(status, b"elsewhere", [f"Location: {location}"])


class Network(httpcore2.AsyncNetworkBackend):
    """Records the addresses of connections, and redirects public ones to a local server."""

    def __init__(self, port, network):
        self.connected = []
        self.down = set()
        self._port = port
        self._network = network

    async def connect_tcp(self, host, port, timeout=None, *_):  # noqa: ASYNC109 (of httpcore2's)
        self.connected.append((host, port))
        if host in self.down:
            raise httpcore2.ConnectError
        assert host in {PUBLIC, OTHER}, f"connected to {host}"
        return await self._network.connect_tcp("127.0.0.1", self._port, timeout)


@pytest.fixture
def server():
    return LocalServer()


def lead_to(server, monkeypatch):
    """Return a network whose public addresses lead to the server."""
    network = Network(server.port, _REAL())
    monkeypatch.setattr(httpcore2, "AnyIOBackend", lambda: network)
    return network


class Names:
    """Return a resolver with a list of answers for each name, one for each call."""

    def __init__(self, **answers):
        self._answers = {name.replace("_", "."): list(given) for name, given in answers.items()}
        self.asked = []

    async def __call__(self, host, _port):
        self.asked.append(host)
        given = self._answers.get(host)
        if not given:
            raise socket.gaierror(socket.EAI_NONAME, "unknown")
        answer = given[0] if len(given) == 1 else given.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer
