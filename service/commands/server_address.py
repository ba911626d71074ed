"""The server that a command uses: `--server`, else the environment variable `MT3_SERVER`."""

import argparse
import os

VARIABLE = "MT3_SERVER"
DEFAULT_SERVER = "http://localhost:8000"


def find_server(parsed: argparse.Namespace) -> str | None:
    """Return the server's address, or None for this machine (`--local`, or no server given)."""
    if getattr(parsed, "local", False):
        return None
    return parsed.server or os.environ.get(VARIABLE) or None
