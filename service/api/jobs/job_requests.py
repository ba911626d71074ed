"""What a caller asks of a new job -> `NewJob`, or the refusal that names what is wrong.

The options are those of a transcription and are read by the same code; what a job has beside them
(metadata, a webhook, its retention, an idempotency key) is read here, from a form's fields or from
the JSON body alike.

The body's hash is of what was said and not of the bytes: a client that sends the same files again
draws another multipart boundary, and must be recognised all the same.
"""

import dataclasses
import hashlib
import json
import math
import urllib.parse
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from typing import Any

from pydantic import JsonValue, TypeAdapter, ValidationError

from mt3_model.errors import OptionError
from mt3_model.export.strict_json import write_json
from mt3_model.notes.transcription import TranscriptionOptions
from service.api.options import OPTION_NAMES, parse_request, without_empty
from service.api.uploads.file_names import kept_name
from service.jobs.job import ItemSource, NewItem, NewWebhook
from service.numbers import parse_decimal
from service.schemas.job_request import MAX_REFERENCE_CHARACTERS, JobInput, JobRequest

MAX_METADATA_BYTES = 16 * 1024
FEWEST_RETENTION_SECONDS = 60.0
"""Of ``expires_in_seconds``: less leaves no time to ask for a result."""
_MAX_KEY_CHARACTERS = 255
_SHOWN_CHARACTERS = 100
_JOB_FIELDS = ("metadata", "webhook_url", "webhook_secret", "expires_in_seconds")
FORM_FIELDS = frozenset({*OPTION_NAMES, *_JOB_FIELDS})
"""What the fields of a form with recordings may be called."""
_METADATA = TypeAdapter(dict[str, JsonValue])
CheckReference = Callable[[str, str], None]
"""The option's name and a caller's URL -> nothing, or `OptionError`."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class JobLimits:
    """What a deployment allows of a job."""

    max_items: int
    max_upload_bytes: int
    """Of all files of one submission."""
    retention_seconds: float


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class JobTerms:
    """What was asked for beside the recordings."""

    options: TranscriptionOptions
    response_format: str | None
    metadata: Mapping[str, Any]
    webhook: NewWebhook | None
    retention_seconds: float | None

    @classmethod
    def of_recording(cls, options: TranscriptionOptions, response_format: str | None) -> "JobTerms":
        """Those of one recording that was sent to be transcribed."""
        return cls(
            options=options, response_format=response_format, metadata={}, webhook=None,
            retention_seconds=None,
        )  # fmt: skip

    def body_hash(self, inputs: Sequence[Sequence[str | None]]) -> str:
        """Names what was asked for, with these recordings."""
        said = [dataclasses.asdict(self), inputs]
        text = json.dumps(said, sort_keys=True, separators=(",", ":"), allow_nan=False)
        return hashlib.sha256(text.encode()).hexdigest()


def parse_terms(
    pairs: Sequence[tuple[str, str]], *, served_model: str, limits: JobLimits
) -> JobTerms:
    """Reads a form's fields, and options of the query.

    Raises:
        OptionError: A name or value that cannot be.
        ModelNotFoundError: Another model than the served one.
    """
    own: dict[str, str] = {}
    options: list[tuple[str, str]] = []
    for name, value in pairs:
        if name not in _JOB_FIELDS:
            options.append((name, value))
        elif not value:  # a field left empty is absent
            continue
        elif name in own:
            raise OptionError(name, f"{name} is given twice; expected once")
        else:
            own[name] = value
    metadata: dict[str, Any] = {}
    if "metadata" in own:
        try:
            metadata = _METADATA.validate_json(own["metadata"])
        except ValidationError as error:
            reason = error.errors(include_url=False, include_context=False)[0]["msg"]
            raise OptionError(
                "metadata",
                f"metadata is not a JSON object ({reason[:_SHOWN_CHARACTERS]}); expected {{...}}",
            ) from error
    expires: float | None = None
    if "expires_in_seconds" in own:
        expires = parse_decimal(own["expires_in_seconds"])
        if expires is None:
            raise OptionError(
                "expires_in_seconds",
                f"expires_in_seconds is {own['expires_in_seconds'][:_SHOWN_CHARACTERS]!r}; expected"
                " seconds as a decimal number such as 3600",
            )
    return _terms(
        options,
        metadata=metadata,
        webhook_url=own.get("webhook_url"),
        webhook_secret=own.get("webhook_secret"),
        expires=expires,
        served_model=served_model,
        limits=limits,
    )


def parse_body(body: bytes, *, limits: JobLimits) -> JobRequest:
    """Reads a JSON body; a long one takes a while, and is read in a thread.

    Raises:
        OptionError: It is not what it must be; ``param`` names the place.
    """
    try:
        asked = JobRequest.model_validate_json(body)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False)[0]
        place = ".".join(str(part) for part in first["loc"])[:_SHOWN_CHARACTERS] or "body"
        reason = first["msg"].removeprefix("Value error, ")[:_SHOWN_CHARACTERS]
        raise OptionError(place, f"{place}: {reason}") from error
    if len(asked.inputs) > limits.max_items:
        raise OptionError(
            "inputs",
            f"inputs has {len(asked.inputs):,} recordings; expected at most {limits.max_items:,}"
            " (max_job_items): send them as several jobs",
        )
    return asked


def terms_of(
    asked: JobRequest,
    query: Sequence[tuple[str, str]],
    *,
    served_model: str,
    limits: JobLimits,
) -> JobTerms:
    """Reads what a JSON body asks for beside the recordings.

    Raises:
        OptionError: A name or value that cannot be.
        ModelNotFoundError: Another model than the served one.
    """
    given = asked.options or {}
    options = [(name, _to_text(name, v)) for name, v in given.items() if v is not None]
    return _terms(
        [*query, *options],
        metadata=asked.metadata or {},
        webhook_url=asked.webhook.url if asked.webhook else None,
        webhook_secret=asked.webhook.secret if asked.webhook else None,
        expires=asked.expires_in_seconds,
        served_model=served_model,
        limits=limits,
    )


def items_of(
    inputs: Sequence[JobInput], *, check_url: CheckReference, check_object: CheckReference
) -> tuple[NewItem, ...]:
    """Reads the recordings that the server is to fetch.

    Args:
        inputs: Of a JSON body.
        check_url: Refuses URLs that are never fetched.
        check_object: Refuses objects that are never read.

    Raises:
        OptionError: One of them cannot be; ``param`` names it.
    """
    items: list[NewItem] = []
    for number, asked in enumerate(inputs):
        place = f"inputs.{number}"
        match asked.url, asked.object:
            case str() as reference, None:
                check_url(f"{place}.url", reference)
                source = ItemSource(kind="url", reference=reference)
            case None, str() as reference:
                check_object(f"{place}.object", reference)
                source = ItemSource(kind="object", reference=reference)
            case _:
                raise OptionError(place, f"{place}: expected exactly one of url and object")
        name = kept_name(asked.name) if asked.name is not None else _name_in(reference)
        items.append(NewItem(source=source, name=name))
    return tuple(items)


def parse_idempotency_key(text: str | None) -> str | None:
    """Reads the header ``Idempotency-Key``.

    Raises:
        OptionError: It is not what a key can be.
    """
    if text is None:
        return None
    if not (0 < len(text) <= _MAX_KEY_CHARACTERS and text.isascii() and text.isprintable()):
        raise OptionError(
            "Idempotency-Key",
            f"Idempotency-Key has {len(text)} characters; expected 1 to {_MAX_KEY_CHARACTERS},"
            " printable ASCII",
        )
    return text


def _terms(
    options: Sequence[tuple[str, str]],
    *,
    metadata: dict[str, Any],
    webhook_url: str | None,
    webhook_secret: str | None,
    expires: float | None,
    served_model: str,
    limits: JobLimits,
) -> JobTerms:
    asked = parse_request(options, accept=None, served_model=served_model)
    named = {name for name, _ in without_empty(options)}
    if "stream" in named:
        raise OptionError("stream", "a job has no stream; its events are at /v1/jobs/{id}/events")
    _refuse_other_numbers("metadata", metadata)
    size = len(write_json(metadata).encode())
    if size > MAX_METADATA_BYTES:
        raise OptionError(
            "metadata", f"metadata has {size:,} bytes; expected at most {MAX_METADATA_BYTES:,}"
        )
    if expires is not None and not FEWEST_RETENTION_SECONDS <= expires <= limits.retention_seconds:
        raise OptionError(
            "expires_in_seconds",
            f"expires_in_seconds is {expires:g}; expected {FEWEST_RETENTION_SECONDS:g} to"
            f" {limits.retention_seconds:,.0f} (job_retention_seconds)",
        )
    if webhook_secret is not None and webhook_url is None:
        raise OptionError("webhook_secret", "webhook_secret is given without webhook_url")
    if webhook_url is not None and len(webhook_url) > MAX_REFERENCE_CHARACTERS:
        raise OptionError(
            "webhook_url", f"webhook_url has more than {MAX_REFERENCE_CHARACTERS:,} characters"
        )
    return JobTerms(
        options=asked.options,
        response_format=asked.response_format.value if "response_format" in named else None,
        metadata=metadata,
        webhook=None if webhook_url is None else NewWebhook(url=webhook_url, secret=webhook_secret),
        retention_seconds=expires,
    )


def _to_text(name: str, value: JsonValue) -> str:
    """A JSON value as it would stand in a form."""
    match value:
        case bool():
            return "true" if value else "false"
        case str():
            return value
        case int() | float():
            _refuse_other_numbers(f"options.{name[:_SHOWN_CHARACTERS]}", value)
            return f"{Decimal(repr(value)):f}"  # without an exponent, as `numbers.py` reads it
        case _:
            raise OptionError(
                name[:_SHOWN_CHARACTERS],
                f"options.{name[:_SHOWN_CHARACTERS]} is no text and no number",
            )


def _refuse_other_numbers(place: str, value: JsonValue) -> None:
    """Refuses numbers that JSON does not have, which its common parsers read all the same.

    Raises:
        OptionError: There is one (``NaN``, ``Infinity``, ``1e400``); it names the place.
    """
    match value:
        case float() if not math.isfinite(value):
            found = "NaN" if math.isnan(value) else "infinite, or too large for a float"
            raise OptionError(
                place.partition(".")[0],
                f"{place[:_SHOWN_CHARACTERS]} is {found}; expected a finite number, or null",
            )
        case list():
            for number, each in enumerate(value):
                _refuse_other_numbers(f"{place}.{number}", each)
        case dict():
            for name, each in value.items():
                _refuse_other_numbers(f"{place}.{name}", each)
        case _:
            return


def _name_in(reference: str) -> str | None:
    """The end of a URL's path, without its query, which may be a signature."""
    path = urllib.parse.unquote(reference.partition("?")[0].partition("#")[0])
    return kept_name(path.rstrip("/").rpartition("/")[2])
