"""Read a JSON object into a dataclass with the same field names, and check the types.

The dataclasses are the description, so that one short reader serves all of them without a
validation library. Fields that a later server adds are ignored. A missing field takes its default;
if it has none, the answer is not this API's.
"""

import dataclasses
import functools
import json
import types
import typing
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, TypeVar

from service.client._errors import UnexpectedAnswerError

T = TypeVar("T")


def parse_object(text: str | bytes, *, what: str) -> Mapping[str, Any]:
    """Parse a JSON object.

    Args:
        text: the JSON text.
        what: name of the document in error messages.

    Raises:
        UnexpectedAnswerError: the text is not JSON, or not an object.
    """
    try:
        document: object = json.loads(text)
    except ValueError as error:
        raise UnexpectedAnswerError(f"{what} is not JSON; is this an MT3 server?") from error
    if not isinstance(document, dict):
        raise UnexpectedAnswerError(f"{what} is {type(document).__name__}; expected an object")
    return document


def parse_document(shape: type[T], text: str | bytes, *, what: str = "the answer") -> T:
    """Parse a JSON object into a dataclass; see `parse_object` and `read_document`."""
    return read_document(shape, parse_object(text, what=what), where=what)


def parse_list(shape: type[T], text: str | bytes) -> tuple[Sequence[T], str | None]:
    """Parse one page of a list into dataclasses, and the cursor of the next page, if there is one.

    Raises:
        UnexpectedAnswerError: the text is not such a page.
    """
    document = parse_object(text, what="the list")
    data, cursor = document.get("data"), document.get("next_cursor")
    if not isinstance(data, list) or not isinstance(cursor, str | None):
        raise UnexpectedAnswerError("the list has no 'data'; is this an MT3 server?")
    entries = [read_document(shape, item, where=f"the list[{n}]") for n, item in enumerate(data)]
    return entries, cursor


def read_document(shape: type[T], document: object, *, where: str = "the answer") -> T:
    """Read a parsed JSON object into a dataclass.

    Args:
        shape: a dataclass whose fields are numbers, text, booleans, times (ISO 8601), dataclasses,
            tuples of those, mappings from text to them, or any of them or None.
        document: the parsed object.
        where: name of the object in error messages.

    Raises:
        UnexpectedAnswerError: a field is missing or has another type.
    """
    if not isinstance(document, Mapping):
        raise UnexpectedAnswerError(f"{where} is {_type_name(document)}; expected an object")
    values: dict[str, Any] = {}
    for name, kind, has_default in _fields(shape):
        if name in document:
            values[name] = _read(kind, document[name], f"{where}.{name}")
        elif not has_default:
            raise UnexpectedAnswerError(f"{where} has no {name!r}; is this an MT3 server?")
    return shape(**values)


@functools.cache
def _fields(shape: type) -> Sequence[tuple[str, Any, bool]]:
    """Return each field's name, its type, and whether it has a default."""
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
        return _read_container(kind, value, where)
    if dataclasses.is_dataclass(kind):
        assert isinstance(kind, type)
        return read_document(kind, value, where=where)
    return _read_scalar(kind, value, where)


def _read_scalar(kind: Any, value: object, where: str) -> object:
    if kind is Any:
        return value
    if kind is datetime:
        return _read_time(value, where)
    # JSON has one number type: 2 may stand for 2.0. A bool is an int in Python, but not in JSON.
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        raise UnexpectedAnswerError(f"{where} is {_type_name(value)}; expected {kind.__name__}")
    return value


def _read_container(kind: Any, value: object, where: str) -> object:
    if typing.get_origin(kind) is tuple:
        if not isinstance(value, list):
            raise UnexpectedAnswerError(f"{where} is {_type_name(value)}; expected a list")
        item_kind = typing.get_args(kind)[0]
        return tuple(_read(item_kind, item, f"{where}[{n}]") for n, item in enumerate(value))
    if not isinstance(value, dict):
        raise UnexpectedAnswerError(f"{where} is {_type_name(value)}; expected an object")
    _, item_kind = typing.get_args(kind)
    return {name: _read(item_kind, item, f"{where}.{name}") for name, item in value.items()}


def _read_time(value: object, where: str) -> datetime:
    """Read an ISO 8601 time; one without a zone is UTC."""
    try:
        time = datetime.fromisoformat(value if isinstance(value, str) else "")
    except ValueError as error:
        raise UnexpectedAnswerError(f"{where} is {_type_name(value)}; expected a time") from error
    return time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)


def _type_name(value: object) -> str:
    return "null" if value is None else type(value).__name__
