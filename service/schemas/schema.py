"""The base of all models of the HTTP API, and the kinds of their fields."""

from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from service.numbers import parse_decimal, parse_integer

Midi7 = Annotated[int, Field(ge=0, le=127)]
"""A number of MIDI's seven bits: a pitch, a velocity, a program."""
Seconds = Annotated[float, Field(ge=0)]
Time = Annotated[str, Field(examples=["2026-11-21T07:30:00.000Z"])]
"""ISO 8601 in UTC, to the millisecond."""
StateName = Literal["queued", "processing", "succeeded", "failed", "canceled"]
"""A state of a job or of an item."""


def _plain_number(value: object) -> object:
    number = parse_decimal(value) if isinstance(value, str) else value
    if number is None:
        raise ValueError("expected a decimal number such as 3600")
    return number


def _plain_integer(value: object) -> object:
    number = parse_integer(value) if isinstance(value, str) else value
    if number is None:
        raise ValueError("expected a whole number in digits, such as 20")
    return number


PlainNumber = Annotated[float, BeforeValidator(_plain_number)]
"""A number, or its decimal digits as text; pydantic alone would also read ``1_0`` and ``inf``."""
PlainInteger = Annotated[int, BeforeValidator(_plain_integer)]
"""A whole number, or its digits as text."""


class Schema(BaseModel):
    """A JSON object with exactly the fields named; their docstrings are published."""

    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True)
