"""Write JSON as RFC 8259 defines it, without Python's ``NaN`` and ``Infinity``.

All responses, webhooks and stored documents are written here, so that a number that other parsers
reject raises an error where it is written and not where it is read.
"""

import json
import math
from typing import Any

import pydantic_core


def write_json(document: object) -> str:
    """Write a document on one line, without spaces between its parts.

    pydantic-core writes several times as fast as Python's `json`, but has no way to refuse NaN and
    infinities. Where their names occur, and where it refuses something itself (objects nested
    hundreds deep, unpaired surrogates), `json` writes the document or refuses it.

    Args:
        document: A value of objects, arrays, strings, numbers, booleans and None.

    Raises:
        ValueError: The document contains a NaN or an infinity.
    """
    try:
        text = pydantic_core.to_json(document, inf_nan_mode="constants")
    except pydantic_core.PydanticSerializationError:
        return _write_with_json(document)
    if b"NaN" in text or b"Infinity" in text:
        return _write_with_json(document)
    return text.decode()


def _write_with_json(document: object) -> str:
    return json.dumps(document, ensure_ascii=False, allow_nan=False, separators=(",", ":"))


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
