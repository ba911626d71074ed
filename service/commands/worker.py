"""`mt3 worker`: run the items of jobs that servers accept, until SIGTERM.

Any number of workers share one Postgres database and one storage with the servers. On SIGTERM a
worker starts no more items, lets running ones finish within the grace period, returns the rest to
the queue and exits with 0.
"""

import argparse
import socket
from typing import TYPE_CHECKING

from mt3_model.errors import OptionError
from service.api.server import serve as serve_application
from service.api.uploads.upload_folder import UploadFolder
from service.api.worker_app import create_worker_app
from service.commands.command_settings import read_settings
from service.commands.serve import is_sqlite, open_jobs, open_port, raise_failure
from service.commands.terminal import say
from service.lifecycle import Service
from service.observability.logging import configure_logging

if TYPE_CHECKING:
    from service.settings import Settings

DEFAULT_PORT = 8_001
"""The worker's port, other than the server's 8000, so that both run on one machine."""


def work(parsed: argparse.Namespace) -> int:
    """Run a worker; return the exit code."""
    settings = read_settings(
        parsed, "host", "port", "model", "checkpoint", "precision", "allow_anonymous",
        "data_dir", "database_url", "storage_url",
    )  # fmt: skip
    port = settings.port if "port" in settings.model_fields_set else DEFAULT_PORT
    settings = settings.model_copy(update={"port": port, "worker": True, "jobs": True})
    configure_logging(settings.log_level, form=settings.log_format)
    if is_sqlite(settings.database_url):
        raise OptionError(
            "database_url",
            "a worker beside a server needs --database postgresql://... (MT3_DATABASE_URL): SQLite"
            " serves one process, and mt3 serve is its own worker",
        )
    with open_port(settings) as sockets:
        return _work(settings, sockets)


def _work(settings: "Settings", sockets: list[socket.socket]) -> int:
    folder = UploadFolder(settings.upload_dir)
    folder.require_writable()
    service = Service(settings, on_ready=lambda: say("Working."), files=folder)
    open_jobs(service)
    app = create_worker_app(
        service,
        folder,
        allow_anonymous=settings.allow_anonymous,
        allowed_hosts=settings.allowed_hosts,
    )
    code = serve_application(
        app,
        host=settings.host,
        port=settings.port,
        shutdown_grace_seconds=settings.shutdown_grace_seconds,
        max_connections=settings.max_connections,
        sockets=sockets,
    )
    raise_failure(service)
    return code
