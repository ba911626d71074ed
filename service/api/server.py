"""The application behind a socket: uvicorn, with an end that is seen coming.

SIGTERM (or Ctrl-C) first makes `/ready` answer ``draining``, then no new connection is taken,
requests running have ``shutdown_grace_seconds`` to finish, and the process ends with code 0. A
second SIGTERM changes nothing (supervisors repeat it); a second Ctrl-C ends at once. SIGHUP reads
the key file again, where there is one.

Nothing that a proxy says of a client is believed (``X-Forwarded-*``): no address, scheme or host
decides anything here, limits belong to keys, and links are relative. So no list of trusted proxies
is needed, and none can be wrong.
"""

import contextlib
import math
import resource
import signal
import types

import uvicorn
from fastapi import FastAPI

from service.api.connections import BoundedProtocol
from service.api.sources import MAX_HEAD_BYTES
from service.assembly import Service

BACKLOG = 2_048
"""Connections that the kernel holds until they are taken; the kernel's own limit may be lower."""
KEEP_ALIVE_SECONDS = 20
"""Idle between two requests; more than the interval of common health checks."""
_DESCRIPTORS_BESIDE_CONNECTIONS = 1_000
"""For uploads, decoding processes' pipes, the libraries' own."""


class _Server(uvicorn.Server):
    """Tells the service of the end before uvicorn acts on it."""

    def __init__(self, config: uvicorn.Config, service: Service) -> None:
        super().__init__(config)
        self._service = service

    def handle_exit(self, sig: int, frame: types.FrameType | None) -> None:
        self._service.begin_draining()
        super().handle_exit(sig, frame)


def serve(
    app: FastAPI, *, host: str, port: int, shutdown_grace_seconds: float, max_connections: int
) -> int:
    """Serves until told to stop.

    Args:
        app: Made by `create_app`.
        host: Address to listen on.
        port: TCP port; 0 takes a free one.
        shutdown_grace_seconds: How long running requests may take at the end.
        max_connections: Open ones, idle ones included.

    Returns:
        The exit code: 0 after a stop that was asked for, 1 where the address could not be had.
    """
    service: Service = app.state.service
    config = uvicorn.Config(
        app,
        host=host,
        port=port,
        http=BoundedProtocol.bounded(max_connections),
        ws="none",
        log_config=None,
        access_log=False,  # our own event says more, and leaves the query string out
        server_header=False,
        proxy_headers=False,
        backlog=BACKLOG,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        h11_max_incomplete_event_size=2 * MAX_HEAD_BYTES,
        timeout_graceful_shutdown=math.ceil(shutdown_grace_seconds),
    )
    server = _Server(config, service)
    _allow_descriptors(max_connections + _DESCRIPTORS_BESIDE_CONNECTIONS)
    # uvicorn raises the signal again once it has stopped: it must then not kill the process.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda _number, _frame: None)
    if service.keys.are_in_file:
        # Without a key file SIGHUP keeps its meaning: the terminal is gone, and so is the server.
        signal.signal(signal.SIGHUP, lambda _number, _frame: service.keys.ask_to_reload())
    try:
        server.run()
    except SystemExit:  # uvicorn's way of saying that it could not start
        return 1
    return 0 if server.started else 1


def _allow_descriptors(wanted: int) -> None:
    """Raises the soft limit of open files, 1,024 by old custom, as far as the hard one lets it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return
    target = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (target, hard))
