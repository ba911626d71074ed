"""Requests while the server goes down: the port stays open until those in progress have ended.

    SIGTERM or Ctrl-C     `/ready` answers 503 ``draining``; `/health` and `/metrics` answer on
    a request that reads  is answered, with ``Connection: close``
    any other request     is refused: 503 with ``Retry-After``
    in progress           may take the grace; then it is answered 503 with ``Retry-After``, or cut
                          off if its answer has begun

`DrainingMiddleware` refuses, `RequestsInProgress` counts and cuts off; `server.py` decides when.
"""

import asyncio

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.api.problems import error_response
from service.assembly import Service, draining_error

_READING_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})


class DrainingMiddleware:
    """Refuses new work while the server goes down."""

    def __init__(self, app: ASGIApp, service: Service) -> None:
        self._app = app
        self._service = service

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serves one ASGI connection; only HTTP requests are touched."""
        is_work = scope["type"] == "http" and scope["method"] not in _READING_METHODS
        if is_work and self._service.is_draining:
            await error_response(draining_error())(scope, receive, send)
            return
        await self._app(scope, receive, send)


class RequestsInProgress:
    """The application, with a list of the requests that have no answer yet."""

    def __init__(self, app: ASGIApp, service: Service) -> None:
        self._app = app
        self._service = service
        self._unanswered: set[asyncio.Task[object]] = set()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serves one ASGI connection; only HTTP requests are touched."""
        task = asyncio.current_task()
        if scope["type"] != "http" or task is None:
            await self._app(scope, receive, send)
            return

        async def send_and_note(message: Message) -> None:
            if message["type"] == "http.response.start":
                self._unanswered.discard(task)
                if self._service.is_draining:
                    MutableHeaders(scope=message)["Connection"] = "close"
            await send(message)

        self._unanswered.add(task)
        try:
            await self._app(scope, receive, send_and_note)
        except asyncio.CancelledError:
            if not self._service.is_draining:
                raise
            # The middleware that logs requests has answered; nothing is left to be done.
        finally:
            self._unanswered.discard(task)

    def cut_off(self) -> None:
        """Cancels the requests without an answer; `RequestContextMiddleware` answers them 503."""
        for task in list(self._unanswered):
            task.cancel()
