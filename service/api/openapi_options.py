"""The options of a transcription in the published contract, as query parameters and form fields.

Defaults are stated in words, not as ``default``, and there are no examples: programs and pages
generated from the contract would send every default twice, in the query and in the form, which is
refused. The one exception is the empty list, which sends nothing: without it Swagger UI (5.34)
fails on a form with a list of strings.
"""

from collections.abc import Mapping
from typing import Any

from service.schemas.option_reading import model_properties
from service.schemas.transcription_options import RequestedOptions

_PUBLISHED = ("type", "enum", "items", "minimum", "maximum", "maxLength", "contentMediaType")


def option_parameters() -> list[dict[str, Any]]:
    """Describe the options as query parameters."""
    return [
        {
            "name": name,
            "in": "query",
            "required": False,
            "schema": _published(schema),
            "description": _one_line(schema["description"]),
        }
        for name, schema in model_properties(RequestedOptions).items()
    ]


def form_fields(properties: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Describe options as fields of a form.

    Args:
        properties: the schema of each option, as `model_properties` returns them.
    """
    return {
        name: {
            **_published(schema),
            **({"default": []} if schema.get("type") == "array" else {}),
            "description": _one_line(schema["description"]),
        }
        for name, schema in properties.items()
    }


def _published(schema: Mapping[str, Any]) -> dict[str, Any]:
    return {keyword: schema[keyword] for keyword in _PUBLISHED if keyword in schema}


def _one_line(text: str) -> str:
    return " ".join(text.split())
