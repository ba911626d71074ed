"""argparse types for sizes and durations."""

import argparse
from collections.abc import Callable

from service.units import parse_bytes, parse_seconds


def option_bytes(text: str) -> int:
    """Parse a size in bytes, or with a unit."""
    return int(_parse_argument(parse_bytes, text))


def option_seconds(text: str) -> float:
    """Parse a duration in seconds, or with a unit."""
    return _parse_argument(parse_seconds, text)


def _parse_argument(parse: Callable[[str], float], text: str) -> float:
    try:
        return parse(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r}: {error}") from error
