"""A JSON object -> a dataclass with the same field names, its types checked on the way.

One reader for every shape of `answers.py`: the classes are the description. Fields that a later
server adds are passed over; one that is missing takes its default, or there is none and the answer
is not this API's. A dependency-free few lines instead of a validation library, because the client
installs with httpx alone.
"""

import dataclasses
import functools
import json
import types
import typing
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, TypeVar

from service.client.errors import UnexpectedAnswerError

T = TypeVar("T")


def parse_object(text: str | bytes, *, what: str) -> Mapping[str, Any]:
    """Parses a JSON object.

    Args:
        text: As received.
        what: Names it in the error.

    Raises:
        UnexpectedAnswerError: It is no JSON, or no object.
    """
    try:
        document: object = json.loads(text)
    except ValueError as error:
        raise UnexpectedAnswerError(f"{what} is not JSON; is this an MT3 server?") from error
    if not isinstance(document, dict):
        raise UnexpectedAnswerError(f"{what} is {type(document).__name__}; expected an object")
    return document


def read_document(shape: type[T], document: object, *, where: str = "the answer") -> T:
    """Reads an object of a JSON document.

    Args:
        shape: A dataclass whose fields are numbers, text, truths, times (ISO 8601), dataclasses,
            tuples of those, mappings from text to them, or any of them or None.
        document: As parsed.
        where: Names the place in the error.

    Raises:
        UnexpectedAnswerError: A field is missing or of another type.
    """
    if not isinstance(document, Mapping):
        raise UnexpectedAnswerError(f"{where} is {_kind(document)}; expected an object")
    values: dict[str, Any] = {}
    for name, kind, is_optional in _fields(shape):
        if name in document:
            values[name] = _read(kind, document[name], f"{where}.{name}")
        elif not is_optional:
            raise UnexpectedAnswerError(f"{where} has no {name!r}; is this an MT3 server?")
    return shape(**values)


@functools.cache
def _fields(shape: type) -> Sequence[tuple[str, Any, bool]]:
    """Name, type, and whether it has a default."""
    kinds = typing.get_type_hints(shape)
    assert dataclasses.is_dataclass(shape)
    return [
        (
            field.name,
            kinds[field.name],
            not (field.default is field.default_factory is dataclasses.MISSING),
        )
        for field in dataclasses.fields(shape)
    ]


def _read(kind: Any, value: object, where: str) -> object:
    if isinstance(kind, types.UnionType):
        if value is None:
            return None
        (kind,) = (part for part in typing.get_args(kind) if part is not type(None))
    if typing.get_origin(kind) is not None:
        return _read_several(kind, value, where)
    if dataclasses.is_dataclass(kind):
        assert isinstance(kind, type)
        return read_document(kind, value, where=where)
    return _read_one(kind, value, where)


def _read_one(kind: Any, value: object, where: str) -> object:
    if kind is Any:
        return value
    if kind is datetime:
        return _read_time(value, where)
    # JSON writes 2.0 and 2 alike; a truth is an int to Python, and not to us.
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        raise UnexpectedAnswerError(f"{where} is {_kind(value)}; expected {kind.__name__}")
    return value


def _read_several(kind: Any, value: object, where: str) -> object:
    if typing.get_origin(kind) is tuple:
        if not isinstance(value, list):
            raise UnexpectedAnswerError(f"{where} is {_kind(value)}; expected a list")
        item_kind = typing.get_args(kind)[0]
        return tuple(_read(item_kind, item, f"{where}[{n}]") for n, item in enumerate(value))
    if not isinstance(value, dict):
        raise UnexpectedAnswerError(f"{where} is {_kind(value)}; expected an object")
    _, item_kind = typing.get_args(kind)
    return {name: _read(item_kind, item, f"{where}.{name}") for name, item in value.items()}


def _read_time(value: object, where: str) -> datetime:
    """Reads a time; one that names no zone is UTC, as all of the API's are."""
    try:
        time = datetime.fromisoformat(value if isinstance(value, str) else "")
    except ValueError as error:
        raise UnexpectedAnswerError(f"{where} is {_kind(value)}; expected a time") from error
    return time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)


def _kind(value: object) -> str:
    return "null" if value is None else type(value).__name__
