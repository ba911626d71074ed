"""Translate option names in messages: the HTTP API's names -> the command line's.

The library and the server name options as the HTTP API does (`start`); the command line shows what
the user typed (`--start`).
"""

import re

_PLAIN = (
    "audio_track", "checkpoint", "decoding", "end", "first_downbeat", "format", "instruments",
    "jobs", "metadata", "model", "output", "postprocess", "precision", "quality", "quantize",
    "server", "start", "tempo", "time_signature", "timeout",
)  # fmt: skip
"""Options with the same name in the API and on the command line. They are also English words, so
they are replaced only where the message uses them as an option's name."""
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
"""Options that the command line names differently."""
_OTHER = re.compile(
    r"(?<![\w.-])(?:options\.)?(" + "|".join(map(re.escape, _OTHERS)) + r")(?![\w-])"
)
# A message may begin with a file's name: "song.mp3: start is 99 s, ...".
_SUBJECT = re.compile(rf"(^|: )(?:options\.)?({'|'.join(_PLAIN)})(?= is | has |: |=)")
# A warning may name options to set: "set it with tempo= or time_signature=".
_TO_SET = re.compile(rf"\b({'|'.join(_PLAIN)})=(?=[\s,.;)]|$)")
_START = re.compile(r"\b(above|than) start\b")
_RANGE = re.compile(r"\b(with) start and end\b")


def name_options(message: str) -> str:
    """Replace the API's option names in a message by those of the command line."""
    message = _SUBJECT.sub(lambda found: f"{found[1]}--{found[2].replace('_', '-')}", message)
    message = _TO_SET.sub(lambda found: f"--{found[1].replace('_', '-')}", message)
    message = _OTHER.sub(lambda found: _OTHERS[found[1]], message)
    message = _START.sub(r"\1 --start", message)
    return _RANGE.sub(r"\1 --start and --end", message)
