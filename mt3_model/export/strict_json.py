"""Write JSON as RFC 8259 defines it, without Python's ``NaN`` and ``Infinity``.

All responses, webhooks and stored documents are written here, so that a number that other parsers
reject raises an error where it is written and not where it is read.
"""

import json
import math
from typing import Any


def write_json(document: object, *, compact: bool = False) -> str:
    """Write a document on one line.

    Args:
        document: A value of objects, arrays, strings, numbers, booleans and None.
        compact: Omit the spaces after commas and colons.

    Raises:
        ValueError: The document contains a NaN or an infinity.
    """
    separators = (",", ":") if compact else None
    return json.dumps(document, ensure_ascii=False, allow_nan=False, separators=separators)


def finite_or_none(number: float | None) -> float | None:
    """Return the number, or None if it is NaN or infinite, which JSON cannot represent."""
    return number if number is not None and math.isfinite(number) else None


def repair_json(value: Any) -> Any:
    """Replace values that `write_json` or UTF-8 cannot represent.

    NaN and infinities become None; unpaired surrogates become U+FFFD.

    Args:
        value: A value read by `json.loads`.
    """
    match value:
        case float():
            return finite_or_none(value)
        case str():
            return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
        case list():
            return [repair_json(each) for each in value]
        case dict():
            return {repair_json(name): repair_json(each) for name, each in value.items()}
        case _:
            return value
