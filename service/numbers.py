"""Text -> numbers, for every option that a person or a program writes: HTTP, JSON and command line.

Python's `int` and `float` take more than anybody means by a number: ``1_0`` is ten, ``٣`` and
``３`` are three, ``nan`` and ``inf`` are numbers, and spaces around them count for nothing. What is
taken here is plain decimal: ASCII digits with at most one point, without sign and exponent. A plus
is left out because it means a space in a query string, a minus because no option is below 0.
"""

import re

_INTEGER = re.compile(r"[0-9]{1,300}")
"""Python refuses to read some thousands of digits, and a float has no more than 308."""
_DECIMAL = re.compile(r"[0-9]{1,300}(\.[0-9]{0,300})?|\.[0-9]{1,300}")


def parse_decimal(text: str) -> float | None:
    """Reads a number such as ``90`` or ``1.5``; gives None for anything else."""
    return float(text) if _DECIMAL.fullmatch(text) else None


def parse_integer(text: str) -> int | None:
    """Reads a whole number such as ``20``; gives None for anything else."""
    return int(text) if _INTEGER.fullmatch(text) else None
