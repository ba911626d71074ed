"""`mt3 serve`: the server, until it is told to stop."""

import argparse

from service.api.app import create_app
from service.api.server import serve as serve_application
from service.api.sources import require_private_binding
from service.commands.reading_settings import read_settings
from service.commands.terminal import say
from service.observability.logging import configure_logging


def serve(parsed: argparse.Namespace) -> int:
    """Serves the HTTP API; returns the exit code."""
    settings = read_settings(
        parsed, "host", "port", "model", "checkpoint", "precision", "allow_anonymous"
    )
    configure_logging(settings.log_level)
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

    return serve_application(
        create_app(settings, on_ready=say_what_to_type_next),
        host=settings.host,
        port=settings.port,
        shutdown_grace_seconds=settings.shutdown_grace_seconds,
        max_connections=settings.max_connections,
    )
