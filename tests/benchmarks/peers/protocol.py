"""Serve the runner's side of the protocol: one line of JSON in, one out, until stdin ends.

A runner loads its system once, says ``{"ready": true, "versions": {...}, "details": {...}}``, and
answers each ``{"recording": path, "midi": path}`` with ``{"done": true}`` when the MIDI file is
written, or ``{"error": text}``. The other side measures the time (`runner_process.py`).

This module and the runners run in the peers' own environments: standard library only here.
"""

import dataclasses
import json
import os
import sys
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any


@dataclasses.dataclass(frozen=True, kw_only=True)
class Loaded:
    """A loaded system."""

    transcribe: Callable[[Path, Path], None]
    """Transcribe the recording at the first path to a MIDI file at the second."""
    versions: Mapping[str, str]
    """Versions of the packages that transcribe."""
    details: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    """Other facts for the report."""


def serve(load: Callable[[], Loaded]) -> None:
    """Load a system and answer requests until stdin is closed."""
    channel = _take_stdout()
    loaded = load()
    _reply(
        channel, {"ready": True, "versions": dict(loaded.versions), "details": dict(loaded.details)}
    )
    for line in sys.stdin:
        request = json.loads(line)
        try:
            loaded.transcribe(Path(request["recording"]), Path(request["midi"]))
        except Exception as error:
            traceback.print_exc()
            _reply(channel, {"error": f"{type(error).__name__}: {error}"})
        else:
            _reply(channel, {"done": True})


def _take_stdout():
    """Reserve stdout for the protocol, and redirect the libraries' output to stderr."""
    channel = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    return channel


def _reply(channel, content: Mapping[str, Any]) -> None:
    channel.write(json.dumps(content) + "\n")
    channel.flush()
