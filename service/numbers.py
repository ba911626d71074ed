"""Parses numbers in options, from HTTP, JSON and the command line.

Python's `int` and `float` accept more than people mean by a number: ``1_0`` is ten, ``٣`` and
``３`` are three, ``nan`` and ``inf`` are numbers, and surrounding spaces are ignored. Only plain
decimals are accepted here: ASCII digits with at most one point, without sign and exponent. A plus
sign means a space in a query string, and no option is negative.
"""

import re

_INTEGER = re.compile(r"[0-9]{1,300}")
"""Python refuses to parse thousands of digits, and a float has at most 308."""
_DECIMAL = re.compile(r"[0-9]{1,300}(\.[0-9]{0,300})?|\.[0-9]{1,300}")


def parse_decimal(text: str) -> float | None:
    """Parse a number such as ``90`` or ``1.5``; return None for anything else."""
    return float(text) if _DECIMAL.fullmatch(text) else None


def parse_integer(text: str) -> int | None:
    """Parse a whole number such as ``20``; return None for anything else."""
    return int(text) if _INTEGER.fullmatch(text) else None
