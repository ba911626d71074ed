"""The JSON body of `POST /v1/jobs`."""

from typing import Annotated

from pydantic import ConfigDict, Field, JsonValue

from service.schemas.schema import PlainNumber, Schema

MAX_REFERENCE_CHARACTERS = 2_048
"""Longest URL that servers and proxies commonly take."""
MAX_NAME_CHARACTERS = 255
_Reference = Annotated[str, Field(min_length=1, max_length=MAX_REFERENCE_CHARACTERS)]


class JobInput(Schema):
    """A recording that the server fetches: exactly one of `url` and `object`."""

    url: _Reference | None = None
    """`http://` or `https://`; never an address of a private network, unless the deployment allows
    it."""
    object: _Reference | None = None
    """`s3://bucket/key` and the like, from the buckets that the deployment names."""
    name: Annotated[str, Field(max_length=MAX_NAME_CHARACTERS)] | None = None
    """Echoed on the item, and in the names of a zip; when absent, the end of the path."""


class WebhookRequest(Schema):
    """Where to tell that the job has ended."""

    url: _Reference
    secret: Annotated[str, Field(min_length=16, max_length=512)] | None = None
    """Signs the deliveries in place of the deployment's."""


class JobRequest(Schema):
    """A job of recordings that the server fetches."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "inputs": [{"url": "https://example.org/song.mp3"}],
                    "options": {"response_format": "midi", "end": 60},
                    "metadata": {"album": "first"},
                }
            ]
        }
    )

    inputs: Annotated[list[JobInput], Field(min_length=1)]
    options: dict[str, JsonValue] | None = None
    """Those of `POST /v1/transcriptions`, but `stream`."""
    webhook: WebhookRequest | None = None
    metadata: dict[str, JsonValue] | None = None
    """Echoed; at most 16 KiB as JSON."""
    expires_in_seconds: PlainNumber | None = None
    """Keep it for so long, at most the deployment's `job_retention_seconds`."""
