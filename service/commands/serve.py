"""`mt3 serve`: the server, until it is told to stop.

The model begins to load before the server's own code is imported: a second of every start.
"""

import argparse
import contextlib
import socket
from typing import TYPE_CHECKING

from mt3_model.errors import DownloadInterruptedError, MT3Error, OptionError
from service.auth.binding import require_private_binding
from service.commands.command_settings import read_settings
from service.commands.listening_sockets import listening
from service.commands.terminal import say
from service.errors import (
    DatabaseInUseError,
    JobError,
    JobsUnavailableError,
    ServiceError,
    StorageError,
)
from service.loading import begin_loading, load_model
from service.observability.logging import configure_logging

if TYPE_CHECKING:
    from service.assembly import Service
    from service.settings import Settings


def serve(parsed: argparse.Namespace) -> int:
    """Serves the HTTP API; returns the exit code."""
    settings = read_settings(
        parsed, "host", "port", "model", "checkpoint", "precision", "allow_anonymous",
        "data_dir", "database_url", "storage_url", "worker",
    )  # fmt: skip
    configure_logging(settings.log_level, form=settings.log_format)
    if settings.jobs and not settings.worker and is_sqlite(settings.database_url):
        raise OptionError(
            "worker",
            "without a worker here nobody would do the jobs: SQLite serves one process. Let other"
            " processes work with --database postgresql://... and mt3 worker",
        )
    if parsed.check:
        from service.commands.server_check import check_server  # noqa: PLC0415

        return check_server(settings, lambda: _try_port(settings))
    with open_port(settings) as sockets:
        return _serve(settings, sockets)


def _try_port(settings: "Settings") -> str:
    with open_port(settings) as sockets:
        return f"{settings.host} port {sockets[0].getsockname()[1]} is free"


def _serve(settings: "Settings", sockets: list[socket.socket]) -> int:
    load = begin_loading(settings) if settings.worker else load_model
    from service.api.app import create_app  # noqa: PLC0415
    from service.api.server import serve as serve_application  # noqa: PLC0415
    from service.api.upload_folder import UploadFolder  # noqa: PLC0415

    UploadFolder(settings.upload_dir).require_writable()
    port: int = sockets[0].getsockname()[1]

    def say_what_to_type_next() -> None:
        key = " -H 'Authorization: Bearer KEY'" if has_keys(settings) else ""
        say(
            f"Ready. Try: curl{key} --data-binary @song.mp3"
            f" 'http://{settings.host}:{port}/v1/transcriptions?response_format=midi'"
            " -o song.mid"
        )

    app = create_app(settings, load=load, on_ready=say_what_to_type_next)
    open_jobs(app.state.service)
    code = serve_application(
        app,
        host=settings.host,
        port=settings.port,
        shutdown_grace_seconds=settings.shutdown_grace_seconds,
        max_connections=settings.max_connections,
        sockets=sockets,
    )
    raise_failure(app.state.service)
    return code


def has_keys(settings: "Settings") -> bool:
    """Whether keys are asked for; whether they are right, `create_app` finds out."""
    return settings.api_keys_file is not None or settings.api_keys is not None


def open_port(settings: "Settings") -> contextlib.AbstractContextManager[list[socket.socket]]:
    """Listens on the settings' host and port, before anything that takes time.

    Raises:
        OptionError: The port cannot be opened, or would be open to strangers without keys.
    """
    if not (has_keys(settings) or settings.allow_anonymous):
        require_private_binding(settings.host)
    return listening(settings.host, settings.port)


def raise_failure(service: "Service") -> None:
    """Raises why the model could not be loaded, if that is how the server ended.

    Raises:
        OptionError: What another start would not change: the checkpoint is not there, is damaged or
            another model's, or cannot be read.
        MT3Error: What may pass: the download was cut off.
        ServiceError: A fault; the log has its trace.
    """
    failure = service.failure
    if failure is None:
        return
    reason = " ".join(str(failure).split())
    if isinstance(failure, MT3Error | OSError) and not isinstance(
        failure, DownloadInterruptedError
    ):
        raise OptionError("checkpoint", reason) from failure
    raise ServiceError(f"the model could not be loaded: {reason}") from failure


def open_jobs(service: "Service") -> None:
    """Opens the jobs before anything listens, so that what is wrong with them is said plainly.

    Raises:
        OptionError: The database, folder or storage named cannot be used.
        JobsUnavailableError: The database does not answer.
    """
    try:
        service.open_jobs()
    except JobsUnavailableError:
        raise
    except DatabaseInUseError as error:
        raise OptionError("data_dir", str(error)) from error
    except JobError as error:
        raise OptionError("database_url", str(error)) from error
    except StorageError as error:
        raise OptionError("storage_url", str(error)) from error


def is_sqlite(database_url: str | None) -> bool:
    """Whether the jobs' database serves one process only."""
    return database_url is None or database_url.startswith("sqlite")
