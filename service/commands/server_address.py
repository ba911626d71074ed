"""Which server a command talks to: `--server`, else the environment's `MT3_SERVER`."""

import argparse
import os

VARIABLE = "MT3_SERVER"
DEFAULT_SERVER = "http://localhost:8000"


def find_server(parsed: argparse.Namespace) -> str | None:
    """The server's address; None where none is named, or `--local` says so."""
    if getattr(parsed, "local", False):
        return None
    return parsed.server or os.environ.get(VARIABLE) or None
