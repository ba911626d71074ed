"""`mt3 serve`: the server, until it is told to stop.

The model begins to load before the server's own code is imported: a second of every start.
"""

import argparse
from typing import TYPE_CHECKING

from mt3_model.errors import OptionError
from service.commands.reading_settings import read_settings
from service.commands.terminal import say
from service.errors import DatabaseInUseError, JobError, JobsUnavailableError, StorageError
from service.loading import begin_loading, load_model
from service.observability.logging import configure_logging

if TYPE_CHECKING:
    from service.assembly import Service


def serve(parsed: argparse.Namespace) -> int:
    """Serves the HTTP API; returns the exit code."""
    settings = read_settings(
        parsed, "host", "port", "model", "checkpoint", "precision", "allow_anonymous",
        "data_dir", "database_url", "storage_url", "worker",
    )  # fmt: skip
    configure_logging(settings.log_level)
    if settings.jobs and not settings.worker and is_sqlite(settings.database_url):
        raise OptionError(
            "worker",
            "without a worker here nobody would do the jobs: SQLite serves one process. Let other"
            " processes work with --database postgresql://... and mt3 worker",
        )
    load = begin_loading(settings) if settings.worker else load_model
    from service.api.app import create_app  # noqa: PLC0415
    from service.api.server import serve as serve_application  # noqa: PLC0415
    from service.api.sources import require_private_binding  # noqa: PLC0415

    # Whether there are keys, and not whether they are right: that `create_app` finds out.
    has_keys = settings.api_keys_file is not None or settings.api_keys is not None
    if not (has_keys or settings.allow_anonymous):
        require_private_binding(settings.host)

    def say_what_to_type_next() -> None:
        key = " -H 'Authorization: Bearer KEY'" if has_keys else ""
        say(
            f"Ready. Try: curl{key} --data-binary @song.mp3"
            f" 'http://{settings.host}:{settings.port}/v1/transcriptions?response_format=midi'"
            " -o song.mid"
        )

    app = create_app(settings, load=load, on_ready=say_what_to_type_next)
    open_jobs(app.state.service)
    return serve_application(
        app,
        host=settings.host,
        port=settings.port,
        shutdown_grace_seconds=settings.shutdown_grace_seconds,
        max_connections=settings.max_connections,
    )


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
