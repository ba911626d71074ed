"""The application behind a socket: uvicorn, with an end that is seen coming.

SIGTERM (or Ctrl-C) first makes `/ready` answer ``draining``, then no new connection is taken,
requests running have ``shutdown_grace_seconds`` to finish, and the process ends with code 0.
"""

import math
import signal
import types

import uvicorn
from fastapi import FastAPI

from service.assembly import Service


class _Server(uvicorn.Server):
    """Tells the service of the end before uvicorn acts on it."""

    def __init__(self, config: uvicorn.Config, service: Service) -> None:
        super().__init__(config)
        self._service = service

    def handle_exit(self, sig: int, frame: types.FrameType | None) -> None:
        self._service.begin_draining()
        super().handle_exit(sig, frame)


def serve(app: FastAPI, *, host: str, port: int, shutdown_grace_seconds: float) -> int:
    """Serves until told to stop.

    Args:
        app: Made by `create_app`.
        host: Address to listen on.
        port: TCP port; 0 takes a free one.
        shutdown_grace_seconds: How long running requests may take at the end.

    Returns:
        The exit code: 0 after a stop that was asked for, 1 where the address could not be had.
    """
    config = uvicorn.Config(
        app,
        host=host,
        port=port,
        log_config=None,
        access_log=False,  # our own event says more, and leaves the query string out
        timeout_graceful_shutdown=math.ceil(shutdown_grace_seconds),
    )
    server = _Server(config, app.state.service)
    # uvicorn raises the signal again once it has stopped: it must then not kill the process.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda _number, _frame: None)
    try:
        server.run()
    except SystemExit:  # uvicorn's way of saying that it could not start
        return 1
    return 0 if server.started else 1
