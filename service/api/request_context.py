"""Around every request: its id, span, counts and one log event, and no fault unanswered.

Plain ASGI rather than Starlette's `BaseHTTPMiddleware`, which puts a task between the route and
the connection: the route would then not see its client go away. A request ends here when its
answer's last byte is handed over, so that a stream is measured whole.
"""

import asyncio
import logging
import re
import time
import uuid

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.api.problems import (
    INTERNAL,
    PROBLEMS,
    error_response,
    internal_problem_response,
)
from service.assembly import draining_error
from service.observability.logging import collect_request_fields, log_event, request_id
from service.observability.metrics import (
    HTTP_METHODS,
    NO_STATUS,
    OTHER_METHOD,
    UNKNOWN_ROUTE,
    Metrics,
)
from service.observability.tracing import Span, request_span

REQUEST_ID_HEADER = "X-Request-ID"
_ALLOWED_ID = re.compile(r"[A-Za-z0-9._:/+=-]{1,128}")
"""What a caller's id may be: it goes into headers and logs."""
_FIRST_SERVER_FAULT = 500
_PROBE_PATHS = frozenset({"/health", "/ready", "/metrics"})
_READING_METHODS = frozenset({"GET", "HEAD"})
_CLIENT = re.compile(r"([A-Za-z][A-Za-z0-9._-]{0,39}/[0-9][0-9A-Za-z.]{0,19})(?: .*)?")
"""A program and its version, as a User-Agent begins (RFC 9110, 10.1.5)."""
_logger = logging.getLogger(__name__)


class RequestContextMiddleware:
    """Gives each request its id and answers for what nobody else answered."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app = app
        self._metrics = metrics
        # From the start, at 0: the rate of a counter that appears with its first error misses it.
        for problem in (*PROBLEMS.values(), INTERNAL):
            metrics.errors.labels(problem.code)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serves one ASGI connection; only HTTP requests are touched."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        exchange = _RequestLog(scope, receive, send, given_id=headers.get(REQUEST_ID_HEADER, ""))
        token = request_id.set(exchange.identity)
        is_probe = exchange.method in _READING_METHODS and scope["path"] in _PROBE_PATHS
        fields = collect_request_fields(is_probe=is_probe)
        if (client := client_name(headers.get("user-agent", ""))) is not None:
            fields["client"] = client
        self._metrics.requests_in_progress.inc()
        span = request_span(exchange.method, traceparent=headers.get("traceparent"))
        try:
            with span:
                try:
                    await self._app(scope, exchange.receive, exchange.send)
                except asyncio.CancelledError:
                    # Cut off by the server's shutdown: its grace has ended.
                    task = asyncio.current_task()
                    if exchange.status is None and task is not None and task.cancelling():
                        task.uncancel()  # else it would be canceled again while it is answered
                        response = error_response(draining_error())
                        await response(scope, exchange.receive, exchange.send)
                    raise
                except Exception as error:  # noqa: BLE001 (the outer edge: logged, and answered)
                    log_event(_logger, "request_failed", level=logging.ERROR, error=error)
                    response = internal_problem_response()
                    if exchange.status is None:
                        await response(scope, exchange.receive, exchange.send)
                finally:
                    exchange.describe(span)
                    self._count(exchange, fields.get("code"))
                    facts = fields | exchange.facts()
                    log_event(_logger, "request_finished", level=logging.INFO, error=None, **facts)
        finally:
            self._metrics.requests_in_progress.dec()
            request_id.reset(token)

    def _count(self, exchange: "_RequestLog", problem_code: object) -> None:
        status = NO_STATUS if exchange.status is None else str(exchange.status)
        route = exchange.route or UNKNOWN_ROUTE
        self._metrics.requests.labels(exchange.method, route, status).inc()
        self._metrics.request_seconds.labels(route).observe(exchange.seconds)
        if problem_code is not None:
            self._metrics.errors.labels(problem_code).inc()


def client_name(user_agent: str) -> str | None:
    """Program and version of a User-Agent; absent where it does not begin with them.

    The rest of the header, and what has another form, is a caller's text and not logged.
    """
    found = _CLIENT.fullmatch(user_agent)
    return None if found is None else found[1]


class _RequestLog:
    """One request and its answer, watched as they pass."""

    def __init__(self, scope: Scope, receive: Receive, send: Send, *, given_id: str) -> None:
        self.identity = given_id if _ALLOWED_ID.fullmatch(given_id) else uuid.uuid4().hex
        self.status: int | None = None
        self._scope = scope
        self._receive = receive
        self._send = send
        self._began = time.perf_counter()
        self._bytes_received = 0
        self._bytes_sent = 0
        # As sent: further in, HEAD is served as GET.
        given = scope["method"]
        self.method: str = given if given in HTTP_METHODS else OTHER_METHOD
        """The request's method, or one word for all that are not HTTP's."""

    @property
    def route(self) -> str | None:
        """The pattern of the route that served it; a path that is no route's has none."""
        return getattr(self._scope.get("route"), "path", None)

    @property
    def seconds(self) -> float:
        """Since the request's head arrived."""
        return time.perf_counter() - self._began

    async def receive(self) -> Message:
        """Passes on what arrives."""
        message = await self._receive()
        if message["type"] == "http.request":
            self._bytes_received += len(message.get("body", b""))
        return message

    async def send(self, message: Message) -> None:
        """Passes on what is answered, with the id and the time until here."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
            headers = MutableHeaders(scope=message)
            headers[REQUEST_ID_HEADER] = self.identity
            headers.append("Server-Timing", f"total;dur={1_000 * self.seconds:.1f}")
        elif message["type"] == "http.response.body":
            if self.method == "HEAD":
                message = {**message, "body": b""}
            self._bytes_sent += len(message.get("body", b""))
        await self._send(message)

    def facts(self) -> dict[str, object]:
        """Its facts, for the log."""
        return {
            "method": self.method,
            "route": self.route,
            "status": self.status,
            "seconds": round(self.seconds, 3),
            "bytes_received": self._bytes_received,
            "bytes_sent": self._bytes_sent,
        }

    def describe(self, span: Span) -> None:
        """Writes its facts on its span, by the names of OpenTelemetry's HTTP conventions."""
        span.set(
            http__request__method=self.method,
            http__request__body__size=self._bytes_received,
            http__response__body__size=self._bytes_sent,
        )
        if self.route is not None:
            span.rename(f"{self.method} {self.route}")
            span.set(http__route=self.route)
        if self.status is not None:
            span.set(http__response__status_code=self.status)
            if self.status >= _FIRST_SERVER_FAULT:
                span.fail(str(self.status))
