"""`mt3 serve`: the server, until it is told to stop."""

import argparse

from service.api.app import create_app
from service.api.server import serve as serve_application
from service.commands.reading_settings import read_settings
from service.commands.terminal import say
from service.observability.logging import configure_logging


def serve(parsed: argparse.Namespace) -> int:
    """Serves the HTTP API; returns the exit code."""
    settings = read_settings(parsed, "host", "port", "model", "checkpoint", "precision")
    configure_logging(settings.log_level)

    def say_what_to_type_next() -> None:
        say(
            "Ready. Try: curl --data-binary @song.mp3"
            f" 'http://{settings.host}:{settings.port}/v1/transcriptions?response_format=midi'"
            " -o song.mid"
        )

    return serve_application(
        create_app(settings, on_ready=say_what_to_type_next),
        host=settings.host,
        port=settings.port,
        shutdown_grace_seconds=settings.shutdown_grace_seconds,
    )
