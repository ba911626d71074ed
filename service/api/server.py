"""Run the application with uvicorn, and shut it down gracefully.

After SIGTERM (or Ctrl-C) `/ready` answers ``draining`` and new work is refused with 503, while the
port stays open. Running requests and job items have ``shutdown_grace_seconds`` to finish. The
remaining requests are answered 503 and get `_GOODBYE_SECONDS` to read it; then the port is closed
and the process exits with code 0. A second SIGTERM changes nothing, since supervisors repeat it; a
second Ctrl-C exits at once. SIGHUP reloads the key file, if there is one.

Proxy headers (``X-Forwarded-*``) are ignored: no decision depends on an address, scheme or host
they could name, limits belong to keys, and links are relative. So there is no list of trusted
proxies to configure, or to get wrong.

`_Server` overrides methods of `uvicorn.Server`, and `connections.py` those of uvicorn's protocol;
the upper bound of uvicorn in pyproject.toml is there for both.
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
from service.lifecycle import Service
from service.observability.logging import log_event

KEEP_ALIVE_SECONDS = 20
"""Maximum idle time between two requests; longer than the interval of common health checks."""
_GOODBYE_SECONDS = 2.0
"""Time for clients to read the 503 after the grace period. The deployment files give the process
15 s or more beyond the grace period."""
_CLOSING_SECONDS = 1
"""Time for connections to close after all requests have ended."""
_DESCRIPTORS_BESIDE_CONNECTIONS = 1_000
"""File descriptors of uploads, pipes of decoding processes, and libraries."""
_logger = logging.getLogger(__name__)


class _Server(uvicorn.Server):
    """A uvicorn server that keeps serving while it drains."""

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

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start and log the address, which uvicorn does only for sockets it opened itself."""
        await super().startup(sockets)
        if sockets:
            self._log_started_message(sockets)

    def handle_exit(self, sig: int, frame: types.FrameType | None) -> None:
        if self._deadline is None:
            self._deadline = time.monotonic() + self._grace_seconds
        self._service.begin_draining()
        super().handle_exit(sig, frame)

    async def on_tick(self, counter: int) -> bool:
        """Keep serving after a signal until running work has ended, unless loading has failed."""
        if self._service.failure is not None and not self.should_exit:
            # There is no model, and there will be none: stop at once.
            self._deadline = time.monotonic()
            self._service.begin_draining()
            self.should_exit = True
        should_exit = await super().on_tick(counter)
        return should_exit and self._is_drained()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Cancel what is still running, then close port, connections and application."""
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
    """Serve until a signal stops the server.

    Args:
        app: The application from `create_app`.
        host: Address to listen on.
        port: TCP port; 0 takes a free one.
        shutdown_grace_seconds: Longest time that running requests may take after the signal.
        max_connections: Maximum number of open connections, idle ones included.
        sockets: Sockets that listen on host and port; opened here if absent.

    Returns:
        The exit code: 0 after a requested stop; 1 if the address is unavailable or the model could
        not be loaded (``service.failure`` holds the reason).
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
        access_log=False,  # replaced by `request_finished`, which omits the query string
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        h11_max_incomplete_event_size=2 * MAX_HEAD_BYTES,
        timeout_graceful_shutdown=_CLOSING_SECONDS,
    )
    server = _Server(config, service, requests, shutdown_grace_seconds=shutdown_grace_seconds)
    _allow_descriptors(max_connections + _DESCRIPTORS_BESIDE_CONNECTIONS)
    # uvicorn re-raises the signal after it has stopped: it must not kill the process then.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda _number, _frame: None)
    if service.keys.are_in_file:
        # Without a key file SIGHUP keeps its default: the terminal is closed, so the server ends.
        signal.signal(signal.SIGHUP, lambda _number, _frame: service.keys.ask_to_reload())
    try:
        server.run(sockets)
    except SystemExit:  # raised by uvicorn if it cannot start
        return 1
    return 0 if server.started and service.failure is None else 1


def _allow_descriptors(wanted: int) -> None:
    """Raise the soft limit of open files, often 1,024, as far as the hard limit permits."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return
    target = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (target, hard))
