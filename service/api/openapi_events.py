"""Server-sent events in the published contract."""

from collections.abc import Sequence
from typing import Any, get_args

from pydantic import BaseModel
from pydantic.json_schema import JsonSchemaMode, models_json_schema

_REFERENCE = "#/components/schemas/{model}"


def component_schemas(models: Sequence[type[BaseModel]]) -> dict[str, Any]:
    """Return the schemas of models, and of the models that they hold, by name."""
    pairs: list[tuple[type[BaseModel], JsonSchemaMode]] = [
        (model, "validation") for model in models
    ]
    return models_json_schema(pairs, ref_template=_REFERENCE)[1]["$defs"]


def schema_reference(model: type[BaseModel]) -> dict[str, str]:
    """Return the reference to a model's schema."""
    return {"$ref": _REFERENCE.format(model=model.__name__)}


def event_name(event: type[BaseModel]) -> str:
    """Return the name of an event: the one value of its field `type`."""
    return get_args(event.model_fields["type"].annotation)[0]


def event_stream(
    events: Sequence[type[BaseModel]], *, id_description: str, example: str
) -> dict[str, Any]:
    """Describe a stream as FastAPI does for its own routes, following OpenAPI 3.2 (4.14.4).

    Args:
        events: the models of the events.
        id_description: what the id of an event is.
        example: a part of a stream.
    """
    return {
        "itemSchema": {
            "type": "object",
            "required": ["id", "event", "data"],
            "properties": {
                "id": {"type": "string", "description": id_description},
                "event": {"type": "string", "enum": [event_name(event) for event in events]},
                "data": {
                    "type": "string",
                    "contentMediaType": "application/json",
                    "contentSchema": {"oneOf": [schema_reference(event) for event in events]},
                },
            },
        },
        "example": example,
    }
