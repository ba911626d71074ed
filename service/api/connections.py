"""One TCP connection with a timeout in every phase, and a limit on their number.

uvicorn limits only the idle time between two requests: a client that sends half a head, or a byte
of it every few seconds, keeps its connection open indefinitely, and so does one that never reads
its response (found with uvicorn 0.54: a new connection has no timer, and any byte stops a running
one). Here every phase has a timeout:

    waiting for a head       `HEAD_SECONDS` from the first byte, or from the connection's start
    receiving a body         the upload's own idle timeout (`uploads/`)
    dropping a body          counts as waiting for the next head
    idle after a response    uvicorn's keep-alive timeout (`server.py`)
    response not read        `STALL_SECONDS` without progress

A client that closes its sending side after a complete request (``nc -N``) gets its response, and
the connection is closed then. Until the response starts, a ``100 Continue`` once a second probes
whether the client is still there: a closed client answers it with a reset.

A connection above the limit is answered 503 and closed, since a process without free file
descriptors cannot serve at all. Anything that is not HTTP is answered with a problem document.
"""

import asyncio
import json
from http import HTTPStatus

import h11
from uvicorn.config import Config
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.server import ServerState

from service.api.problems import MEDIA_TYPE, PROBLEMS, Problem, problem_document
from service.api.security import HEADERS
from service.errors import MalformedTargetError

HEAD_SECONDS = 10.0
"""A head is one or two packets. nginx allows 60 s, Apache 20 s or more while bytes arrive."""
STALL_SECONDS = 60.0
"""Longest time between two reads of the client, as nginx's ``send_timeout``."""
_BUSY_RETRY_SECONDS = 5
_PROBE_SECONDS = 1.0
"""Interval of probes of a half-closed connection."""
_FIRST_PROBE_SECONDS = 0.25
"""Most responses have started by then and need no probe."""
MALFORMED_REQUEST = PROBLEMS[MalformedTargetError]
TOO_MANY_CONNECTIONS = Problem(
    status=HTTPStatus.SERVICE_UNAVAILABLE, code="too_many_connections", title="Too many connections"
)


class BoundedProtocol(H11Protocol):
    """uvicorn's HTTP/1.1 protocol with timeouts and a connection limit."""

    max_connections = 2_000
    head_seconds = HEAD_SECONDS
    stall_seconds = STALL_SECONDS

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, object],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self._head_timer: asyncio.TimerHandle | None = None
        self._stall_timer: asyncio.TimerHandle | None = None
        self._probe_timer: asyncio.TimerHandle | None = None
        self._is_half_closed = False

    @classmethod
    def bounded(cls, max_connections: int) -> type["BoundedProtocol"]:
        """Return a subclass with this connection limit, since uvicorn takes a class."""
        return type(cls.__name__, (cls,), {"max_connections": max_connections})

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Refuse the connection above the limit, else wait for a request head."""
        super().connection_made(transport)
        if len(self.connections) > self.max_connections:
            detail = (
                f"this server has {self.max_connections:,} open connections and accepts no more"
            )
            self._answer_and_close(TOO_MANY_CONNECTIONS, detail, retry_after=_BUSY_RETRY_SECONDS)
            return
        self._await_head()

    def data_received(self, data: bytes) -> None:
        """Parse received bytes; a complete head ends the wait for it."""
        super().data_received(data)
        if self._is_answering():
            self._stop_head_timer()
        elif not self.transport.is_closing():
            self._await_head()

    def eof_received(self) -> bool:  # pyright: ignore[reportIncompatibleMethodOverride] (asyncio's own)
        """Keep the connection open for the response, if the request is complete.

        Once the response has started, the connection is closed: such a client has disconnected.
        """
        if not self._is_answering() or self.cycle.more_body or self.cycle.response_started:
            return False
        self._is_half_closed = True
        self._probe_timer = self.loop.call_later(_FIRST_PROBE_SECONDS, self._probe)
        return True

    def on_response_complete(self) -> None:
        """Close a half-closed connection, on which no further request can arrive."""
        super().on_response_complete()
        if self._is_half_closed and not self._is_answering():
            self.transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop all timers."""
        self._stop_head_timer()
        self._stop_probe_timer()
        self._stop_stall_timer()
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        """Start the stall timer of a client that reads too slowly."""
        super().pause_writing()
        self._watch_stall(self.transport.get_write_buffer_size())

    def resume_writing(self) -> None:
        """Stop the stall timer: the client reads again."""
        self._stop_stall_timer()
        super().resume_writing()

    def send_400_response(self, msg: str) -> None:
        """Answer bytes that are not HTTP."""
        del msg
        self._answer_and_close(MALFORMED_REQUEST, "what was sent is not an HTTP/1.1 request")

    def cut_off_answer(self) -> None:
        """Close the connection if its response has started and is incomplete."""
        if self._is_answering() and self.cycle.response_started:
            self.transport.close()

    def abort_if_busy(self) -> None:
        """Abort the connection if its request is still running."""
        if self._is_answering():
            self.transport.abort()

    def _is_answering(self) -> bool:
        # Unlike uvicorn's annotation says, the attribute is unset before the first request.
        cycle = getattr(self, "cycle", None)
        return cycle is not None and not cycle.response_complete

    def _probe(self) -> None:
        """Send an interim response, which clients skip, until the final response starts."""
        self._probe_timer = None
        if self.transport.is_closing() or not self._is_answering():
            return
        if self.cycle.scope["http_version"] != "1.1":  # HTTP/1.0 has no interim responses
            return
        if not self.cycle.response_started:
            event = h11.InformationalResponse(status_code=100, headers=[], reason="Continue")
            self.transport.write(self.conn.send(event) or b"")
            self._probe_timer = self.loop.call_later(_PROBE_SECONDS, self._probe)

    def _stop_probe_timer(self) -> None:
        if self._probe_timer is not None:
            self._probe_timer.cancel()
            self._probe_timer = None

    def _await_head(self) -> None:
        if self._head_timer is None:
            self._head_timer = self.loop.call_later(self.head_seconds, self._close_unless_answering)

    def _close_unless_answering(self) -> None:
        self._head_timer = None
        if not self._is_answering():
            self.transport.close()

    def _watch_stall(self, waiting_bytes: int) -> None:
        self._stop_stall_timer()
        self._stall_timer = self.loop.call_later(
            self.stall_seconds, self._abort_if_stalled, waiting_bytes
        )

    def _abort_if_stalled(self, waited_bytes: int) -> None:
        waiting_bytes = self.transport.get_write_buffer_size()
        if waiting_bytes < waited_bytes:
            self._watch_stall(waiting_bytes)
            return
        # `close` would wait until the client has read the buffer.
        self.transport.abort()

    def _stop_head_timer(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _stop_stall_timer(self) -> None:
        if self._stall_timer is not None:
            self._stall_timer.cancel()
            self._stall_timer = None

    def _answer_and_close(
        self, problem: Problem, detail: str, *, retry_after: int | None = None
    ) -> None:
        """Write a problem document directly, since there is no request for the application."""
        body = json.dumps(problem_document(problem, detail)).encode()
        headers = {
            "Content-Type": MEDIA_TYPE,
            "Content-Length": str(len(body)),
            "Connection": "close",
            **HEADERS,
        }
        if retry_after is not None:
            headers["Retry-After"] = str(retry_after)
        lines = [f"HTTP/1.1 {problem.status.value} {problem.status.phrase}"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        self.transport.write("\r\n".join([*lines, "", ""]).encode("ascii") + body)
        self.transport.close()
