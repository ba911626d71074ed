"""Types of command-line options beyond Python's own, for argparse."""

import argparse
from collections.abc import Callable

from service.units import parse_bytes, parse_seconds


def option_bytes(text: str) -> int:
    """Reads a size, with a unit or without."""
    return int(_refusing(parse_bytes, text))


def option_seconds(text: str) -> float:
    """Reads a length of time, with a unit or without."""
    return _refusing(parse_seconds, text)


def _refusing(parse: Callable[[str], float], text: str) -> float:
    try:
        return parse(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r}: {error}") from error
