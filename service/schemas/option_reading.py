"""Read options from a query, a form or JSON into a model, or refuse them with a useful message.

The reader works for any model: the model's fields determine both which values are valid and what an
error message says was expected. A misspelled option that was silently ignored would give a wrong
answer, so an unknown name is refused. An option without a value (`start=`) counts as absent,
because programs send form fields that were left empty.
"""

import functools
import json
from collections.abc import Iterable
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from mt3_model.errors import OptionError
from service.schemas.transcription_options import RequestedOptions

_SHOWN_CHARACTERS = 100
_Model = TypeVar("_Model", bound=BaseModel)


def read_options(given: Iterable[tuple[str, object]]) -> RequestedOptions:
    """Read the options of a transcription.

    Args:
        given: names and values as sent: text of a query or a form, members of a JSON object.

    Raises:
        OptionError: a name or value is not known, or an option is given twice.
    """
    return read_model(RequestedOptions, given)


def read_model(model: type[_Model], given: Iterable[tuple[str, object]]) -> _Model:
    """Read names and values into a model whose fields are options.

    A field that holds a list is an option that may be repeated.

    Args:
        model: the model whose fields are the options.
        given: names and values as sent.

    Raises:
        OptionError: a name or value is not known, or an option is given twice.
    """
    properties = model_properties(model)
    sent: dict[str, list[Any]] = {}
    for name, value in given:
        if name not in properties:
            raise no_such_option(name, properties)
        if value is not None and value != "":
            sent.setdefault(name, []).append(value)
    values = {name: _one_value(name, each, properties[name]) for name, each in sent.items()}
    try:
        return model.model_validate(values)
    except ValidationError as error:
        raise _refusal(error, values, properties) from error


def no_such_option(name: str, known: Iterable[str]) -> OptionError:
    """Return the error for a name that is none of the known ones."""
    return OptionError(
        name[:_SHOWN_CHARACTERS], f"there is no option {shown(name)}; expected {', '.join(known)}"
    )


def repeated_option(name: str, times: int) -> OptionError:
    """Return the error for an option that is given more than once."""
    return OptionError(name, f"{name} is given {times} times; expected once")


@functools.cache
def model_properties(model: type[BaseModel]) -> dict[str, dict[str, Any]]:
    """Return the JSON schema of each field, without `null` and with its references resolved."""
    document = model.model_json_schema()
    definitions = document.get("$defs", {})
    return {
        name: _simplified(schema, definitions) for name, schema in document["properties"].items()
    }


def shown(value: object) -> str:
    """Return a sent value for a message, shortened if it is longer than any valid value."""
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    cut = f"{text[:_SHOWN_CHARACTERS]}..." if len(text) > _SHOWN_CHARACTERS else text
    return repr(cut) if isinstance(value, str) else cut


def _one_value(name: str, sent: list[Any], schema: dict[str, Any]) -> Any:
    """Return the value of an option; a list option collects all values sent under its name."""
    if schema.get("type") == "array":
        return [each for value in sent for each in (value if isinstance(value, list) else [value])]
    if len(sent) > 1:
        raise repeated_option(name, len(sent))
    return sent[0]


def _refusal(
    error: ValidationError, values: dict[str, Any], properties: dict[str, dict[str, Any]]
) -> OptionError:
    """Return the error for the first value that does not fit its field.

    A validator of a field raises `ValueError("expected ...")`; for pydantic's own errors, what was
    expected is derived from the field.
    """
    first = error.errors(include_url=False)[0]
    name = str(first["loc"][0])
    if first["type"] == "value_error":
        wanted = str(first["ctx"]["error"]) if "ctx" in first else first["msg"]
    else:
        wanted = f"expected {_expectation(properties[name])}"
    if first["type"] == "json_invalid":
        wanted += f" ({first['msg'][:_SHOWN_CHARACTERS]})"
    return OptionError(name, f"{name} is {shown(values.get(name))}; {wanted}")


def _simplified(schema: dict[str, Any], definitions: dict[str, Any]) -> dict[str, Any]:
    own = {key: value for key, value in schema.items() if key not in ("anyOf", "$ref", "default")}
    for choice in schema.get("anyOf", []):
        if choice.get("type") != "null":
            own = {**_simplified(choice, definitions), **own}
    if "$ref" in schema:
        target: dict[str, Any] = definitions[schema["$ref"].rsplit("/", 1)[1]]
        own = {**target, **own}
    if "items" in own:
        own["items"] = _simplified(own["items"], definitions)
    return own


def _expectation(schema: dict[str, Any]) -> str:
    """Describe in words what a field's schema allows."""
    if "enum" in schema:
        *others, last = map(str, schema["enum"])
        return f"{', '.join(others)} or {last}" if others else last
    match schema.get("type"):
        case "array":
            return f"a list of: {_expectation(schema['items'])}"
        case "integer":
            return f"a whole number{_range(schema)}"
        case "number":
            unit = f"{schema['x-unit']} as " if "x-unit" in schema else ""
            examples = " or ".join(map(str, schema.get("examples", [90, 1.5])))
            return f"{unit}a decimal number such as {examples}{_range(schema)}"
        case _:
            return _text_expectation(schema)


def _text_expectation(schema: dict[str, Any]) -> str:
    if schema.get("contentMediaType") == "application/json":
        return "a JSON object"
    longest = f" of 1 to {schema['maxLength']:,} characters" if "maxLength" in schema else ""
    return f"text{longest}"


def _range(schema: dict[str, Any]) -> str:
    low, high = schema.get("minimum"), schema.get("maximum")
    match low, high:
        case None, None:
            return ""
        case _, None:
            return f", {low:,.10g} or more"
        case None, _:
            return f", {high:,.10g} or less"
        case _:
            return f", {low:,.10g} to {high:,.10g}"
