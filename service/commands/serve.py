"""`mt3 serve`: run the server until SIGTERM.

The model begins to load before the server's code is imported, which saves a second of every start.
"""

import argparse
import contextlib
import gc
import socket
from collections.abc import Generator
from typing import TYPE_CHECKING

from mt3_model.errors import (
    SHORTAGES,
    DecoderKilledError,
    DecoderStartError,
    DownloadInterruptedError,
    MT3Error,
    OptionError,
)
from service.auth.loopback import require_private_binding
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
from service.model_loading import begin_loading, load_model
from service.observability.logging import configure_logging

if TYPE_CHECKING:
    from service.lifecycle import Service
    from service.settings import Settings

_USUAL_GC_THRESHOLDS = gc.get_threshold()
_START_GC_THRESHOLD = 100_000
"""Objects between two collections during the start; Python's own threshold is 700."""


def serve(parsed: argparse.Namespace) -> int:
    """Serve the HTTP API; return the exit code."""
    settings = read_settings(
        parsed, "host", "port", "model", "checkpoint", "precision", "allow_anonymous",
        "data_dir", "database_url", "storage_url", "worker",
    )  # fmt: skip
    configure_logging(settings.log_level, form=settings.log_format)
    if settings.jobs and not settings.worker and is_sqlite(settings.database_url):
        raise OptionError(
            "worker",
            "--no-worker needs a database that other processes can use, and SQLite serves one"
            " process; use --database postgresql://... and run mt3 worker",
        )
    if parsed.check:
        from service.commands.server_check import check_server  # noqa: PLC0415

        return check_server(settings, lambda: _try_port(settings))
    with open_port(settings) as sockets, _collecting_seldom():
        return _serve(settings, sockets)


def _try_port(settings: "Settings") -> str:
    with open_port(settings) as sockets:
        return f"{settings.host} port {sockets[0].getsockname()[1]} is free"


def _serve(settings: "Settings", sockets: list[socket.socket]) -> int:
    load = begin_loading(settings) if settings.worker else load_model
    from service.api.app import create_app  # noqa: PLC0415
    from service.api.server import serve as serve_application  # noqa: PLC0415
    from service.api.uploads.upload_folder import UploadFolder  # noqa: PLC0415

    UploadFolder(settings.upload_dir).require_writable()
    port: int = sockets[0].getsockname()[1]

    def say_ready() -> None:
        # Objects that exist now are kept forever, so the garbage collector need not look at them
        # again.
        gc.freeze()
        gc.set_threshold(*_USUAL_GC_THRESHOLDS)
        key = " -H 'Authorization: Bearer KEY'" if has_keys(settings) else ""
        address = f"http://{settings.host}:{port}"
        say(f"Ready: open {address} in a browser.")
        say(
            f"Or try: curl{key} --data-binary @song.mp3"
            f" '{address}/v1/transcriptions?response_format=midi' -o song.mid"
        )

    app = create_app(settings, load=load, on_ready=say_ready)
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


@contextlib.contextmanager
def _collecting_seldom() -> Generator[None]:
    """Run the garbage collector rarely until the server is ready.

    Imports and traces create half a million objects and no garbage, and searching them for garbage
    takes a tenth of the start time.
    """
    gc.set_threshold(_START_GC_THRESHOLD)
    try:
        yield
    finally:
        gc.set_threshold(*_USUAL_GC_THRESHOLDS)


def has_keys(settings: "Settings") -> bool:
    """Whether API keys are configured; `create_app` validates them."""
    return settings.api_keys_file is not None or settings.api_keys is not None


def open_port(settings: "Settings") -> contextlib.AbstractContextManager[list[socket.socket]]:
    """Open the port of the settings, before any slow work.

    Raises:
        OptionError: the port cannot be opened, or would be public without API keys.
    """
    if not (has_keys(settings) or settings.allow_anonymous):
        require_private_binding(settings.host)
    return listening(settings.host, settings.port)


def raise_failure(service: "Service") -> None:
    """Raise the error that kept the model from loading, if there was one.

    Raises:
        OptionError: a permanent error: the checkpoint is missing, damaged, unreadable or of
            another model.
        ServiceError: any other error, after which another start may succeed.
    """
    failure = service.failure
    if failure is None:
        return
    reason = " ".join(str(failure).split())
    if isinstance(failure, MT3Error | OSError) and not _may_pass(failure):
        raise OptionError("checkpoint", reason) from failure
    raise ServiceError(f"the start failed: {reason}") from failure


def _may_pass(failure: MT3Error | OSError) -> bool:
    """Whether another start may succeed: the network, or the machine's load, is to blame."""
    if isinstance(failure, OSError):
        return isinstance(failure, ChildProcessError) or failure.errno in SHORTAGES
    return isinstance(failure, DownloadInterruptedError | DecoderStartError | DecoderKilledError)


def open_jobs(service: "Service") -> None:
    """Open the jobs' database and storage before serving, to report their errors as one sentence.

    Raises:
        OptionError: the database, folder or storage cannot be used.
        JobsUnavailableError: the database does not respond.
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
    """Whether the jobs' database is SQLite, which serves one process only."""
    return database_url is None or database_url.startswith("sqlite")
