"""The base of all models of the HTTP API, and the kinds of their fields."""

import datetime
from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema
from pydantic_core import PydanticCustomError

from service.numbers import parse_decimal, parse_integer

Midi7 = Annotated[int, Field(ge=0, le=127)]
"""A number of MIDI's seven bits: a pitch, a velocity, a program."""
Seconds = Annotated[float, Field(ge=0)]
Time = Annotated[str, Field(examples=["2026-11-21T07:30:00.000Z"])]
"""ISO 8601 in UTC, to the millisecond."""
StateName = Literal["queued", "processing", "succeeded", "failed", "canceled"]
"""A state of a job or of an item."""


def _number(value: object) -> object:
    number = parse_decimal(value) if isinstance(value, str) else value
    if number is None or isinstance(number, bool):
        raise PydanticCustomError("number", "expected a decimal number such as 3600")
    return number


def _integer(value: object) -> object:
    number = parse_integer(value) if isinstance(value, str) else value
    if number is None or isinstance(number, bool):
        raise PydanticCustomError("integer", "expected a whole number in digits, such as 20")
    return number


def _boolean(value: object) -> object:
    if value in ("true", "false"):
        return value == "true"
    if not isinstance(value, bool):
        raise PydanticCustomError("boolean", "expected true or false")
    return value


DECIMAL = BeforeValidator(_number)
"""Reads the decimal digits of a number from text; pydantic alone would also read ``1_0`` and
``inf``. In an `Annotated` type it comes last, after the limits."""
DIGITS = BeforeValidator(_integer)
"""Reads the digits of a whole number from text."""
PlainNumber = Annotated[float, DECIMAL]
PlainInteger = Annotated[int, DIGITS]
PlainBoolean = Annotated[
    bool,
    BeforeValidator(_boolean),
    WithJsonSchema({"type": "string", "enum": ["true", "false"]}),
]
"""`true` or `false`, in JSON or as text; pydantic alone would also read ``yes`` and ``1``."""


def format_time(seconds: float) -> str:
    """Convert seconds since 1970 to a `Time`."""
    moment = datetime.datetime.fromtimestamp(seconds, datetime.UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


class Schema(BaseModel):
    """A JSON object with exactly the fields named; their docstrings are published."""

    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True)
