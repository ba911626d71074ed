"""Options that several commands have. Imports nothing heavy."""

import argparse
import re
from pathlib import Path

_CLOCK = re.compile(r"(?:(?P<hours>\d+):)?(?P<minutes>\d+):(?P<seconds>\d+(?:\.\d*)?)", re.ASCII)
_SECONDS = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d{1,3})?", re.ASCII)
_SIXTY = 60


def parse_time(text: str) -> float:
    """Reads a place in a recording: seconds, ``M:SS`` or ``H:MM:SS``, with decimals at the end.

    Raises:
        argparse.ArgumentTypeError: It is none of these.
    """
    text = text.strip()
    if _SECONDS.fullmatch(text):
        return float(text)
    clock = _CLOCK.fullmatch(text)
    if clock is None:
        raise argparse.ArgumentTypeError(
            f"{text!r} is no time; expected seconds (90.5), M:SS (1:30.5) or H:MM:SS (1:02:03.5)"
        )
    hours, minutes = clock["hours"], int(clock["minutes"])
    seconds = float(clock["seconds"])
    if seconds >= _SIXTY or (hours is not None and minutes >= _SIXTY):
        part = "seconds" if seconds >= _SIXTY else "minutes"
        raise argparse.ArgumentTypeError(f"{text!r} is no time; expected less than 60 {part}")
    return (int(hours or 0) * _SIXTY + minutes) * _SIXTY + seconds


def add_range_options(
    parser: argparse.ArgumentParser, *, default_start: float | None = None
) -> None:
    """Adds `--start` and `--end`."""
    parser.add_argument(
        "--start", type=parse_time, default=default_start, metavar="TIME",
        help="transcribe from here: seconds, M:SS or H:MM:SS",
    )  # fmt: skip
    parser.add_argument("--end", type=parse_time, metavar="TIME", help="up to here, likewise")


def add_server_option(parser: argparse.ArgumentParser, text: str) -> None:
    """Adds `--server` and the file of its key."""
    parser.add_argument("--server", metavar="URL", help=text)
    parser.add_argument(
        "--api-key-file", type=Path, metavar="FILE",
        help="holds the server's key (default: MT3_API_KEY of the environment)",
    )  # fmt: skip
