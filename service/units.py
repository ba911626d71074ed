"""Parses numbers with a unit in settings and options: `1 GiB`, `90s`, `2h`."""

import math
import re

_NUMBER_AND_UNIT = re.compile(
    r"\s*([0-9]+(?:\.[0-9]*)?(?:[eE][+-]?[0-9]+)?|inf)\s*([a-zA-Z]*)\s*", re.ASCII
)
_BYTES = {
    "": 1, "b": 1,
    "k": 10**3, "kb": 10**3, "m": 10**6, "mb": 10**6, "g": 10**9, "gb": 10**9,
    "t": 10**12, "tb": 10**12,
    "ki": 2**10, "kib": 2**10, "mi": 2**20, "mib": 2**20, "gi": 2**30, "gib": 2**30,
    "ti": 2**40, "tib": 2**40,
}  # fmt: skip
_SECONDS = {
    "": 1.0, "s": 1.0, "sec": 1.0, "second": 1.0, "seconds": 1.0,
    "ms": 0.001,
    "m": 60.0, "min": 60.0, "minute": 60.0, "minutes": 60.0,
    "h": 3_600.0, "hour": 3_600.0, "hours": 3_600.0,
    "d": 86_400.0, "day": 86_400.0, "days": 86_400.0,
}  # fmt: skip


def parse_bytes(text: str) -> int:
    """Parse a size: `1000000`, `1MB` (10**6), `512MiB` (2**20), `1.5 GiB`.

    Raises:
        ValueError: the text is not a size.
    """
    number, factor = _split(text, _BYTES)
    size = number * factor
    if not math.isfinite(size) or size != int(size):
        raise ValueError("expected a whole number of bytes, like 1000000, 1GB or 512MiB")
    return int(size)


def parse_seconds(text: str) -> float:
    """Parse a duration: `90`, `90s`, `1.5min`, `2h`, `7d`.

    Raises:
        ValueError: the text is not a duration.
    """
    number, factor = _split(text, _SECONDS)
    return number * factor


def parse_byte_rate(text: str) -> float:
    """Parse a rate in bytes per second: `1000`, `0.5`, `1kB`.

    Raises:
        ValueError: the text is not a rate.
    """
    number, factor = _split(text, _BYTES)
    return number * factor


def _split(text: str, units: "dict[str, int] | dict[str, float]") -> tuple[float, float]:
    found = _NUMBER_AND_UNIT.fullmatch(text)
    factor = None if found is None else units.get(found[2].lower())
    if found is None or factor is None:
        shown = "GB, MiB" if "gb" in units else "s, min, h, d"
        raise ValueError(f"expected a number, with a unit like {shown} or without")
    return float(found[1]), factor
