"""JSON as RFC 8259 has it, without the ``NaN`` and ``Infinity`` that Python's `json` lets through.

Everything that is answered, sent or stored is written here, so that a number no other parser reads
is an error where it is made and not at whoever reads the document later.
"""

import json
import math
from typing import Any


def write_json(document: object, *, compact: bool = False) -> str:
    """Writes a document on one line.

    Args:
        document: Objects, arrays, text, numbers, booleans and None.
        compact: Without spaces between the members.

    Raises:
        ValueError: It holds a number that is not finite.
    """
    separators = (",", ":") if compact else None
    return json.dumps(document, ensure_ascii=False, allow_nan=False, separators=separators)


def finite_or_none(number: float | None) -> float | None:
    """Gives a number that JSON has, and None for the others."""
    return number if number is not None and math.isfinite(number) else None


def repair_json(value: Any) -> Any:
    """Replaces what `write_json` and UTF-8 cannot write.

    Numbers that are not finite become null, and surrogates without their other half U+FFFD.

    Args:
        value: What `json.loads` read.
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
