"""Give every request an id, a span, metrics and one log event, and answer unhandled errors.

This is plain ASGI rather than Starlette's `BaseHTTPMiddleware`, which runs the route in another
task: the route would then not see its client disconnect. A request ends here when the last byte of
its response is sent, so that a stream is measured completely.
"""

import asyncio
import logging
import re
import time
import uuid

from opentelemetry.trace import Span, StatusCode
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.api.problems import (
    INTERNAL,
    PROBLEMS,
    error_response,
    internal_problem_response,
)
from service.lifecycle import draining_error
from service.observability.logging import collect_request_fields, log_event, request_id
from service.observability.metrics import (
    HTTP_METHODS,
    NO_STATUS,
    OTHER_METHOD,
    UNKNOWN_ROUTE,
    Metrics,
)
from service.observability.tracing import request_span

REQUEST_ID_HEADER = "X-Request-ID"
_ALLOWED_ID = re.compile(r"[A-Za-z0-9._:/+=-]{1,128}")
"""Accepted ids of callers: they are copied into headers and logs."""
_FIRST_SERVER_FAULT = 500
_PROBE_PATHS = frozenset({"/health", "/ready", "/metrics"})
_READING_METHODS = frozenset({"GET", "HEAD"})
_CLIENT = re.compile(r"([A-Za-z][A-Za-z0-9._-]{0,39}/[0-9][0-9A-Za-z.]{0,19})(?: .*)?")
"""Program and version at the start of a User-Agent (RFC 9110, 10.1.5)."""
_logger = logging.getLogger(__name__)


class RequestContextMiddleware:
    """Sets the request id, records the request, and answers unhandled errors with a problem."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app = app
        self._metrics = metrics
        # Create every counter at 0: a rate would miss the error with which a counter appears.
        for problem in (*PROBLEMS.values(), INTERNAL):
            metrics.errors.labels(problem.code)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one ASGI connection; anything but HTTP passes through."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        log = _RequestLog(scope, receive, send, given_id=headers.get(REQUEST_ID_HEADER, ""))
        token = request_id.set(log.request_id)
        is_probe = log.method in _READING_METHODS and scope["path"] in _PROBE_PATHS
        fields = collect_request_fields(is_probe=is_probe)
        if (client := client_name(headers.get("user-agent", ""))) is not None:
            fields["client"] = client
        self._metrics.requests_in_progress.inc()
        try:
            with request_span(log.method, traceparent=headers.get("traceparent")) as span:
                try:
                    await self._app(scope, log.receive, log.send)
                except asyncio.CancelledError:
                    # Canceled at the end of the server's grace period.
                    task = asyncio.current_task()
                    if log.status is None and task is not None and task.cancelling():
                        task.uncancel()  # otherwise sending the response is canceled too
                        response = error_response(draining_error())
                        await response(scope, log.receive, log.send)
                    raise
                except Exception as error:  # noqa: BLE001 (the outer edge: logged and answered)
                    log_event(_logger, "request_failed", level=logging.ERROR, error=error)
                    response = internal_problem_response()
                    if log.status is None:
                        await response(scope, log.receive, log.send)
                finally:
                    log.describe(span)
                    self._count(log, fields.get("code"))
                    facts = fields | log.fields()
                    log_event(_logger, "request_finished", level=logging.INFO, error=None, **facts)
        finally:
            self._metrics.requests_in_progress.dec()
            request_id.reset(token)

    def _count(self, log: "_RequestLog", problem_code: object) -> None:
        status = NO_STATUS if log.status is None else str(log.status)
        route = log.route or UNKNOWN_ROUTE
        self._metrics.requests.labels(log.method, route, status).inc()
        self._metrics.request_seconds.labels(route).observe(log.seconds)
        if problem_code is not None:
            self._metrics.errors.labels(problem_code).inc()


def client_name(user_agent: str) -> str | None:
    """Return program and version of a User-Agent; None if it does not start with them.

    The rest of the header is arbitrary text of the caller and is not logged.
    """
    found = _CLIENT.fullmatch(user_agent)
    return None if found is None else found[1]


class _RequestLog:
    """Records facts of one request and its response as their messages pass."""

    def __init__(self, scope: Scope, receive: Receive, send: Send, *, given_id: str) -> None:
        self.request_id = given_id if _ALLOWED_ID.fullmatch(given_id) else uuid.uuid4().hex
        self.status: int | None = None
        self._scope = scope
        self._receive = receive
        self._send = send
        self._began = time.perf_counter()
        self._bytes_received = 0
        self._bytes_sent = 0
        # As sent: inner layers see HEAD as GET.
        given = scope["method"]
        self.method: str = given if given in HTTP_METHODS else OTHER_METHOD
        """The request's method, or one label for all unknown methods."""

    @property
    def route(self) -> str | None:
        """The path pattern of the matched route; None for an unknown path."""
        return getattr(self._scope.get("route"), "path", None)

    @property
    def seconds(self) -> float:
        """Time since the request's head arrived."""
        return time.perf_counter() - self._began

    async def receive(self) -> Message:
        """Receive the next message and count its bytes."""
        message = await self._receive()
        if message["type"] == "http.request":
            self._bytes_received += len(message.get("body", b""))
        return message

    async def send(self, message: Message) -> None:
        """Send a message; the response head gets the request id and `Server-Timing`."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
            headers = MutableHeaders(scope=message)
            headers[REQUEST_ID_HEADER] = self.request_id
            headers.append("Server-Timing", f"total;dur={1_000 * self.seconds:.1f}")
        elif message["type"] == "http.response.body":
            if self.method == "HEAD":
                message = {**message, "body": b""}
            self._bytes_sent += len(message.get("body", b""))
        await self._send(message)

    def fields(self) -> dict[str, object]:
        """Return the fields of the log event."""
        return {
            "method": self.method,
            "route": self.route,
            "status": self.status,
            "seconds": round(self.seconds, 3),
            "bytes_received": self._bytes_received,
            "bytes_sent": self._bytes_sent,
        }

    def describe(self, span: Span) -> None:
        """Set the span's attributes by OpenTelemetry's HTTP conventions."""
        span.set_attributes(
            {
                "http.request.method": self.method,
                "http.request.body.size": self._bytes_received,
                "http.response.body.size": self._bytes_sent,
            }
        )
        if self.route is not None:
            span.update_name(f"{self.method} {self.route}")
            span.set_attribute("http.route", self.route)
        if self.status is not None:
            span.set_attribute("http.response.status_code", self.status)
            if self.status >= _FIRST_SERVER_FAULT:
                span.set_attribute("error.type", str(self.status))
                span.set_status(StatusCode.ERROR)
