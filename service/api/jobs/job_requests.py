"""A form or a JSON body -> the terms and items of a new job, or a refusal that names the fault.

The options are those of a transcription and are read by the same model. A job has further terms:
metadata, a webhook, a retention time, an idempotency key.

The hash of a request covers its content, not the bytes of the body: when a client sends the same
files again, it uses another multipart boundary, but the hash is the same.
"""

import dataclasses
import hashlib
import json
import math
import urllib.parse
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from pydantic import JsonValue, ValidationError

from mt3_model.errors import OptionError
from mt3_model.export.record import options_to_json
from mt3_model.export.strict_json import write_json
from mt3_model.notes.transcription import TranscriptionOptions
from service.api.transcription_request import library_options
from service.api.uploads.file_names import kept_name
from service.jobs.job import ItemSource, NewItem
from service.schemas.job_request import MIN_RETENTION_SECONDS, JobForm, JobInput, JobRequest
from service.schemas.option_reading import read_model, read_options
from service.schemas.transcription_options import OPTION_NAMES
from service.webhooks.webhook import NewWebhook

MAX_METADATA_BYTES = 16 * 1024
FORM_FIELDS = frozenset({*OPTION_NAMES, *JobForm.model_fields})
"""The names of fields that a form with recordings may have."""
_MAX_KEY_CHARACTERS = 255
_SHOWN_CHARACTERS = 100
CheckReference = Callable[[str, str], None]
"""A check of a URL, called with its place in the request and the URL; raises `OptionError` to
refuse."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class JobLimits:
    """The deployment's limits of a job."""

    max_items: int
    max_upload_bytes: int
    """All files of one request together."""
    retention_seconds: float


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class JobTerms:
    """The terms of a job: everything that a client sends in addition to the recordings."""

    options: TranscriptionOptions
    response_format: str | None = None
    metadata: Mapping[str, Any] = dataclasses.field(default_factory=dict[str, Any])
    webhook: NewWebhook | None = None
    retention_seconds: float | None = None

    def body_hash(self, inputs: Sequence[Sequence[str | None]]) -> str:
        """Return the hash of the request.

        Args:
            inputs: what identifies each recording: its name and digest, or its URL.
        """
        terms = dataclasses.asdict(self)
        # Releases without these options hashed requests without them, and their keys are still in
        # use. `options_to_json` omits exactly those, and the audio track.
        terms["options"] = {
            "audio_track": self.options.audio_track, **options_to_json(self.options)
        }  # fmt: skip
        asked = [terms, inputs]
        text = json.dumps(asked, sort_keys=True, separators=(",", ":"), allow_nan=False)
        return hashlib.sha256(text.encode()).hexdigest()


def parse_form(
    fields: Sequence[tuple[str, str]], *, served_model: str, limits: JobLimits
) -> JobTerms:
    """Read the fields of a form together with the query.

    Raises:
        OptionError: a name or value is not known.
        ModelNotFoundError: the client asks for another model than the served one.
    """
    form = read_model(JobForm, [field for field in fields if field[0] in JobForm.model_fields])
    if form.webhook_secret is not None and form.webhook_url is None:
        raise OptionError("webhook_secret", "webhook_secret is given without webhook_url")
    webhook = None
    if form.webhook_url is not None:
        webhook = NewWebhook(url=form.webhook_url, secret=form.webhook_secret)
    return _check_terms(
        [field for field in fields if field[0] not in JobForm.model_fields],
        metadata=form.metadata or {},
        webhook=webhook,
        expires_in_seconds=form.expires_in_seconds,
        served_model=served_model,
        limits=limits,
    )


def parse_body(body: bytes, *, limits: JobLimits) -> JobRequest:
    """Read a JSON body. Ten thousand inputs take a while: call it in a thread.

    Raises:
        OptionError: the body does not fit the model; ``param`` names the place.
    """
    try:
        request = JobRequest.model_validate_json(body)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False)[0]
        place = ".".join(str(part) for part in first["loc"])[:_SHOWN_CHARACTERS] or "body"
        raise OptionError(place, f"{place}: {first['msg'][:_SHOWN_CHARACTERS]}") from error
    if len(request.inputs) > limits.max_items:
        raise OptionError(
            "inputs",
            f"inputs has {len(request.inputs):,} recordings; expected at most"
            f" {limits.max_items:,} (max_job_items): send them as several jobs",
        )
    return request


def terms_of_body(
    request: JobRequest,
    query: Iterable[tuple[str, str]],
    *,
    served_model: str,
    limits: JobLimits,
) -> JobTerms:
    """Return the terms of a JSON body, with the options of the query.

    Raises:
        OptionError: a name or value is not known.
        ModelNotFoundError: the client asks for another model than the served one.
    """
    options = request.options or {}
    _refuse_non_finite("options", options)
    webhook = None
    if request.webhook is not None:
        webhook = NewWebhook(url=request.webhook.url, secret=request.webhook.secret)
    return _check_terms(
        [*query, *options.items()],
        metadata=request.metadata or {},
        webhook=webhook,
        expires_in_seconds=request.expires_in_seconds,
        served_model=served_model,
        limits=limits,
    )


def items_of_body(
    inputs: Sequence[JobInput], *, check_url: CheckReference, check_object: CheckReference
) -> tuple[NewItem, ...]:
    """Return the items of a JSON body.

    Args:
        inputs: the recordings that the server is to fetch.
        check_url: refuses URLs that the server never fetches.
        check_object: refuses objects that the server never reads.

    Raises:
        OptionError: an input is refused; ``param`` names it.
    """
    items: list[NewItem] = []
    for number, given in enumerate(inputs):
        place = f"inputs.{number}"
        match given.url, given.object:
            case str() as reference, None:
                check_url(f"{place}.url", reference)
                source = ItemSource(kind="url", reference=reference)
            case None, str() as reference:
                check_object(f"{place}.object", reference)
                source = ItemSource(kind="object", reference=reference)
            case _:
                raise OptionError(place, f"{place}: expected either url or object")
        name = kept_name(given.name) if given.name is not None else _name_in(reference)
        items.append(NewItem(source=source, name=name))
    return tuple(items)


def parse_idempotency_key(text: str | None) -> str | None:
    """Read the header ``Idempotency-Key``.

    Raises:
        OptionError: the header cannot be a key.
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


def _check_terms(
    options: Iterable[tuple[str, object]],
    *,
    metadata: dict[str, JsonValue],
    webhook: NewWebhook | None,
    expires_in_seconds: float | None,
    served_model: str,
    limits: JobLimits,
) -> JobTerms:
    requested = read_options(options)
    if "stream" in requested.model_fields_set:
        raise OptionError("stream", "a job has no stream; its events are at /v1/jobs/{id}/events")
    _refuse_non_finite("metadata", metadata)
    size = len(write_json(metadata).encode())
    if size > MAX_METADATA_BYTES:
        raise OptionError(
            "metadata", f"metadata has {size:,} bytes; expected at most {MAX_METADATA_BYTES:,}"
        )
    expires = expires_in_seconds
    if expires is not None and not MIN_RETENTION_SECONDS <= expires <= limits.retention_seconds:
        raise OptionError(
            "expires_in_seconds",
            f"expires_in_seconds is {expires:g}; expected {MIN_RETENTION_SECONDS} to"
            f" {limits.retention_seconds:,.0f} (job_retention_seconds)",
        )
    named_format = requested.response_format
    return JobTerms(
        options=library_options(requested, served_model),
        response_format=None if named_format is None else named_format.value,
        metadata=metadata,
        webhook=webhook,
        retention_seconds=expires,
    )


def _refuse_non_finite(place: str, value: JsonValue) -> None:
    """Refuse ``NaN``, ``Infinity`` and ``1e400``, which are not JSON but accepted by many parsers.

    Raises:
        OptionError: the value holds such a number; the message names its place.
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
                _refuse_non_finite(f"{place}.{number}", each)
        case dict():
            for name, each in value.items():
                _refuse_non_finite(f"{place}.{name}", each)
        case _:
            return


def _name_in(reference: str) -> str | None:
    """Return the end of a URL's path, without the query, which may hold a signature."""
    path = urllib.parse.unquote(reference.partition("?")[0].partition("#")[0])
    return kept_name(path.rstrip("/").rpartition("/")[2])
