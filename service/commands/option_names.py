"""Messages of the library and of a server -> the words of the command line.

Both speak of options by the names of the HTTP API. Who typed `--start` is told of `--start`.
"""

import re

_PLAIN = (
    "audio_track", "checkpoint", "decoding", "end", "format", "jobs", "metadata", "model", "output",
    "precision", "server", "start", "timeout",
)  # fmt: skip
"""Options of the same name here and there. They are words of plain English too, so that they are
replaced only where a message speaks of them as of an option."""
_OTHERS = {
    "Idempotency-Key": "--idempotency-key",
    "audio_track": "--audio-track",
    "base_url": "--server",
    "expires_in_seconds": "--expires-in",
    "response_format": "--format",
    "webhook.secret": "--webhook-secret-file",
    "webhook.url": "--webhook-url",
    "webhook_secret": "--webhook-secret-file",
    "webhook_url": "--webhook-url",
}
"""Names that the command line spells otherwise."""
_OTHER = re.compile(
    r"(?<![\w.-])(?:options\.)?(" + "|".join(map(re.escape, _OTHERS)) + r")(?![\w-])"
)
_SUBJECT = re.compile(rf"^(?:options\.)?({'|'.join(_PLAIN)})(?= is | has |: |=)")
_START = re.compile(r"\b(above|than) start\b")
_RANGE = re.compile(r"\b(with) start and end\b")


def name_options(message: str) -> str:
    """Writes the options that a message names as they are typed."""
    message = _SUBJECT.sub(lambda found: f"--{found[1].replace('_', '-')}", message)
    message = _OTHER.sub(lambda found: _OTHERS[found[1]], message)
    message = _START.sub(r"\1 --start", message)
    return _RANGE.sub(r"\1 --start and --end", message)
