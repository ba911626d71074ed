"""Handle requests while the server shuts down; the port stays open until running ones have ended.

    after SIGTERM         `/ready` answers 503 ``draining``; `/health` and `/metrics` still answer
    a reading request     is answered, with ``Connection: close``
    any other request     is refused: 503 with ``Retry-After``
    a running request     has the grace period; then it is answered 503 with ``Retry-After``, or
                          aborted if its response has started

`DrainingMiddleware` refuses and `RequestsInProgress` cancels; `server.py` decides when.
"""

import asyncio

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.api.problems import error_response
from service.lifecycle import Service, draining_error

_READING_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})


class DrainingMiddleware:
    """Refuses new work while the server shuts down."""

    def __init__(self, app: ASGIApp, service: Service) -> None:
        self._app = app
        self._service = service

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one ASGI connection; anything but HTTP passes through."""
        is_work = scope["type"] == "http" and scope["method"] not in _READING_METHODS
        if is_work and self._service.is_draining:
            await error_response(draining_error())(scope, receive, send)
            return
        await self._app(scope, receive, send)


class RequestsInProgress:
    """Tracks the requests whose response has not started."""

    def __init__(self, app: ASGIApp, service: Service) -> None:
        self._app = app
        self._service = service
        self._unanswered: set[asyncio.Task[object]] = set()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one ASGI connection; anything but HTTP passes through."""
        task = asyncio.current_task()
        if scope["type"] != "http" or task is None:
            await self._app(scope, receive, send)
            return

        async def send_and_track(message: Message) -> None:
            if message["type"] == "http.response.start":
                self._unanswered.discard(task)
                if self._service.is_draining:
                    MutableHeaders(scope=message)["Connection"] = "close"
            await send(message)

        self._unanswered.add(task)
        try:
            await self._app(scope, receive, send_and_track)
        except asyncio.CancelledError:
            if not self._service.is_draining:
                raise
            # `RequestContextMiddleware` has sent the response.
        finally:
            self._unanswered.discard(task)

    def cut_off(self) -> None:
        """Cancel the requests without a response; `RequestContextMiddleware` answers 503."""
        for task in list(self._unanswered):
            task.cancel()
