"""The application behind a socket: uvicorn, with an end that is announced.

SIGTERM (or Ctrl-C) makes `/ready` answer ``draining`` and new work be refused with 503, while the
port stays open. Requests and recordings of jobs in progress have ``shutdown_grace_seconds`` to
finish. Requests that do not are answered 503 and given `_GOODBYE_SECONDS` to read that; then the
port is closed and the process ends with code 0. A second SIGTERM changes nothing (supervisors
repeat it); a second Ctrl-C ends at once. SIGHUP reads the key file again, where there is one.

Nothing that a proxy says of a client is believed (``X-Forwarded-*``): no address, scheme or host
decides anything here, limits belong to keys, and links are relative. So no list of trusted proxies
is needed, and none can be wrong.
"""

import asyncio
import contextlib
import logging
import resource
import signal
import socket
import time
import types

import uvicorn
from fastapi import FastAPI

from service.api.connections import BoundedProtocol
from service.api.draining import RequestsInProgress
from service.api.origins import MAX_HEAD_BYTES
from service.assembly import Service
from service.observability.logging import log_event

KEEP_ALIVE_SECONDS = 20
"""Idle between two requests; more than the interval of common health checks."""
_GOODBYE_SECONDS = 2.0
"""For clients whose requests are cut off to read their answer. The deployment's files give the
process 15 s and more after the grace."""
_CLOSING_SECONDS = 1
"""For connections to close once all requests have ended."""
_DESCRIPTORS_BESIDE_CONNECTIONS = 1_000
"""For uploads, decoding processes' pipes, the libraries' own."""
_logger = logging.getLogger(__name__)


class _Server(uvicorn.Server):
    """uvicorn's server, which goes on serving while it drains."""

    def __init__(
        self,
        config: uvicorn.Config,
        service: Service,
        requests: RequestsInProgress,
        *,
        shutdown_grace_seconds: float,
    ) -> None:
        super().__init__(config)
        self._service = service
        self._requests = requests
        self._grace_seconds = shutdown_grace_seconds
        self._deadline: float | None = None

    def stop_as_failed(self) -> None:
        """Stop at once: there is no model, and there will be none."""
        self._deadline = time.monotonic()
        self._service.begin_draining()
        self.should_exit = True

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start, and log the address, which uvicorn does for sockets of its own only."""
        await super().startup(sockets)
        if sockets:
            self._log_started_message(sockets)

    def handle_exit(self, sig: int, frame: types.FrameType | None) -> None:
        if self._deadline is None:
            self._deadline = time.monotonic() + self._grace_seconds
        self._service.begin_draining()
        super().handle_exit(sig, frame)

    async def on_tick(self, counter: int) -> bool:
        """Serve on until a signal came and what was in progress has ended."""
        should_exit = await super().on_tick(counter)
        return should_exit and self._is_drained()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Cut off what is still in progress, then close port, connections and application."""
        await self._cut_off()
        await super().shutdown(sockets)

    def _is_drained(self) -> bool:
        if self.force_exit or self._deadline is None or time.monotonic() >= self._deadline:
            return True
        return not (self.server_state.tasks or self._service.has_items_running)

    async def _cut_off(self) -> None:
        tasks = set(self.server_state.tasks)
        if not tasks:
            return
        log_event(_logger, "requests_cut_off", level=logging.WARNING, requests=len(tasks))
        connections = [c for c in self.server_state.connections if isinstance(c, BoundedProtocol)]
        for connection in connections:
            connection.cut_off_answer()
        self._requests.cut_off()
        await asyncio.wait(tasks, timeout=0.0 if self.force_exit else _GOODBYE_SECONDS)
        for connection in connections:
            connection.abort_if_busy()
        await asyncio.wait(tasks, timeout=0.0 if self.force_exit else _CLOSING_SECONDS)


def serve(
    app: FastAPI,
    *,
    host: str,
    port: int,
    shutdown_grace_seconds: float,
    max_connections: int,
    sockets: list[socket.socket] | None = None,
) -> int:
    """Serves until told to stop.

    Args:
        app: Made by `create_app`.
        host: Address to listen on.
        port: TCP port; 0 takes a free one.
        shutdown_grace_seconds: How long running requests may take at the end.
        max_connections: Open ones, idle ones included.
        sockets: Those that listen on host and port; absent: they are opened here.

    Returns:
        The exit code: 0 after a stop that was asked for, 1 where the address could not be had or
        the model could not be loaded (``service.failure`` says why).
    """
    service: Service = app.state.service
    requests = RequestsInProgress(app, service)
    config = uvicorn.Config(
        requests,
        host=host,
        port=port,
        http=BoundedProtocol.bounded(max_connections),
        ws="none",
        log_config=None,
        access_log=False,  # our own event says more, and leaves the query string out
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        h11_max_incomplete_event_size=2 * MAX_HEAD_BYTES,
        timeout_graceful_shutdown=_CLOSING_SECONDS,
    )
    server = _Server(config, service, requests, shutdown_grace_seconds=shutdown_grace_seconds)
    service.on_failed = server.stop_as_failed
    _allow_descriptors(max_connections + _DESCRIPTORS_BESIDE_CONNECTIONS)
    # uvicorn raises the signal again once it has stopped: it must then not kill the process.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda _number, _frame: None)
    if service.keys.are_in_file:
        # Without a key file SIGHUP keeps its meaning: the terminal is gone, and so is the server.
        signal.signal(signal.SIGHUP, lambda _number, _frame: service.keys.ask_to_reload())
    try:
        server.run(sockets)
    except SystemExit:  # uvicorn's way of saying that it could not start
        return 1
    return 0 if server.started and service.failure is None else 1


def _allow_descriptors(wanted: int) -> None:
    """Raises the soft limit of open files, 1,024 by old custom, as far as the hard one lets it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return
    target = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (target, hard))
