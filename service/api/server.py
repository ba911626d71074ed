"""The application behind a socket: uvicorn, with an end that is seen coming.

SIGTERM (or Ctrl-C) first makes `/ready` answer ``draining``, then no new connection is taken,
requests running have ``shutdown_grace_seconds`` to finish, and the process ends with code 0.
"""

import signal
import types

import uvicorn

from service.api.app import create_app
from service.assembly import Service
from service.observability.logging import configure_logging
from service.settings import Settings


class _Server(uvicorn.Server):
    """Tells the service of the end before uvicorn acts on it."""

    def __init__(self, config: uvicorn.Config, service: Service) -> None:
        super().__init__(config)
        self._service = service

    def handle_exit(self, sig: int, frame: types.FrameType | None) -> None:
        self._service.begin_draining()
        super().handle_exit(sig, frame)


def serve(settings: Settings) -> int:
    """Serves until told to stop.

    Returns:
        The exit code: 0 after a stop that was asked for, 1 where the address could not be had.
    """
    configure_logging(settings.log_level)
    app = create_app(settings)
    config = uvicorn.Config(
        app,
        host=settings.host,
        port=settings.port,
        log_config=None,
        access_log=False,  # our own event says more, and leaves the query string out
        timeout_graceful_shutdown=int(settings.shutdown_grace_seconds),
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
