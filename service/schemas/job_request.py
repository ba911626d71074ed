"""The request for a job: the JSON body of `POST /v1/jobs`, or the fields of a form."""

from typing import Annotated, Any

from pydantic import ConfigDict, Field, Json, JsonValue, WithJsonSchema
from pydantic.config import JsonDict

from service.schemas.option_reading import model_properties
from service.schemas.schema import PlainNumber, Schema
from service.schemas.transcription_options import RequestedOptions

MAX_REFERENCE_CHARACTERS = 2_048
"""Longest URL that servers and proxies commonly accept."""
MAX_NAME_CHARACTERS = 255
MIN_RETENTION_SECONDS = 60
"""A shorter `expires_in_seconds` would leave no time to fetch a result."""
_Reference = Annotated[str, Field(min_length=1, max_length=MAX_REFERENCE_CHARACTERS)]
# The largest retention is the deployment's, so both limits are checked together, elsewhere.
_RETENTION: JsonDict = {"minimum": MIN_RETENTION_SECONDS, "x-unit": "seconds"}


JOB_REQUEST_EXAMPLE: JsonDict = {
    "inputs": [{"url": "https://example.org/song.mp3"}],
    "options": {"response_format": "midi", "end": 60},
    "metadata": {"album": "first"},
}


def job_option_properties() -> dict[str, dict[str, Any]]:
    """Return the schemas of the options that a job may have."""
    options = model_properties(RequestedOptions)
    return {name: schema for name, schema in options.items() if name != "stream"}


def _options_schema() -> dict[str, Any]:
    kept = ("type", "enum", "items", "minimum", "maximum")
    properties = {
        name: {
            "anyOf": [{key: schema[key] for key in kept if key in schema}, {"type": "null"}],
            "description": schema["description"],
        }
        for name, schema in job_option_properties().items()
    }
    return {"type": "object", "additionalProperties": False, "properties": properties}


class JobInput(Schema):
    """A recording that the server fetches: exactly one of `url` and `object`."""

    url: _Reference | None = None
    """`http://` or `https://`; never an address of a private network, unless the deployment allows
    it."""
    object: _Reference | None = None
    """`s3://bucket/key` or similar, from a bucket that the deployment allows."""
    name: Annotated[str, Field(max_length=MAX_NAME_CHARACTERS)] | None = None
    """Name of the recording, shown on the item and used in the zip of results; without it, the end
    of the path."""


class WebhookRequest(Schema):
    """A URL that the server calls when the job has ended."""

    url: _Reference
    secret: Annotated[str, Field(min_length=16, max_length=512)] | None = None
    """Secret with which each delivery is signed; by default the deployment's own."""


class JobRequest(Schema):
    """A job of recordings that the server fetches."""

    model_config = ConfigDict(json_schema_extra={"examples": [JOB_REQUEST_EXAMPLE]})

    inputs: Annotated[list[JobInput], Field(min_length=1)]
    options: Annotated[dict[str, JsonValue], WithJsonSchema(_options_schema())] | None = None
    """The options of `POST /v1/transcriptions`, except `stream`."""
    webhook: WebhookRequest | None = None
    metadata: dict[str, JsonValue] | None = None
    """Your own JSON object, returned with the job; at most 16 KiB."""
    expires_in_seconds: PlainNumber | None = Field(
        default=None, examples=[3600], json_schema_extra=_RETENTION
    )
    """Keep the job for this long after its end, at most the deployment's
    `job_retention_seconds`."""


class JobForm(Schema):
    """The fields of a form besides the recordings and their options."""

    metadata: Json[dict[str, JsonValue]] | None = None
    """Your own JSON object, returned with the job; at most 16 KiB."""
    webhook_url: _Reference | None = None
    """A URL that the server calls when the job has ended."""
    webhook_secret: str | None = None
    """Secret with which each delivery is signed; by default the deployment's own."""
    expires_in_seconds: PlainNumber | None = Field(
        default=None, examples=[3600], json_schema_extra=_RETENTION
    )
    """Keep the job for this long after its end; by default as long as the deployment keeps jobs."""
