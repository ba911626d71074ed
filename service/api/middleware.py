"""Around every request: its id in and out, its time, one log event, and no fault unanswered.

Plain ASGI rather than Starlette's `BaseHTTPMiddleware`, which puts a task between the route and
the connection: the route would then not see its client go away.
"""

import logging
import re
import time
import uuid

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.api.problems import internal_problem_response
from service.observability.logging import log_event, request_id

REQUEST_ID_HEADER = "X-Request-ID"
_ALLOWED_ID = re.compile(r"[A-Za-z0-9._:/+=-]{1,128}")
"""What a caller's id may be: it goes into headers and logs."""
_logger = logging.getLogger(__name__)


class RequestContextMiddleware:
    """Gives each request its id and answers for what nobody else answered."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serves one ASGI connection; only HTTP requests are touched."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        given = Headers(scope=scope).get(REQUEST_ID_HEADER, "")
        identity = given if _ALLOWED_ID.fullmatch(given) else uuid.uuid4().hex
        token = request_id.set(identity)
        began = time.perf_counter()
        status: int | None = None

        async def send_with_headers(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = MutableHeaders(scope=message)
                headers[REQUEST_ID_HEADER] = identity
                total = f"total;dur={(time.perf_counter() - began) * 1_000:.1f}"
                headers.append("Server-Timing", total)
            await send(message)

        try:
            await self._app(scope, receive, send_with_headers)
        except Exception as error:  # noqa: BLE001 (the outer edge: logged, and answered)
            log_event(_logger, "request_failed", level=logging.ERROR, error=error)
            if status is None:
                await internal_problem_response()(scope, receive, send_with_headers)
        finally:
            route = scope.get("route")
            log_event(
                _logger,
                "request_finished",
                method=scope["method"],
                route=getattr(route, "path", None),
                status=status,
                seconds=round(time.perf_counter() - began, 3),
            )
            request_id.reset(token)
