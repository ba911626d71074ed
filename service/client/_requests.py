"""The requests of the API as values.

Both clients send them; nothing here touches the network.
"""

import dataclasses
import decimal
import json
import re
import secrets
from collections.abc import Mapping, Sequence
from typing import Any

from service.client._models import Options, ResponseFormat
from service.client._uploads import Body, Form, JSONBody, Recordings, Upload

Query = tuple[tuple[str, str], ...]
QUICK_SECONDS = 30.0
"""Silence after which a small request fails. The server answers these at once, even while the
device is busy, so that only the network or a gateway can delay them."""
SILENCE_SECONDS = 60.0
"""Silence after which a stream or a download fails: four of the server's heartbeats."""
JOBS_PER_PAGE, ITEMS_PER_PAGE = 100, 1_000
"""The largest pages that the server gives."""
IDEMPOTENCY_KEY = "idempotency-key"
"""The header that lets a request be sent again without being executed twice."""
TRANSCRIPTIONS, JOBS = "/v1/transcriptions", "/v1/jobs"
_ID = re.compile(r"[\w-]{1,128}\Z", re.ASCII)
"""An id that is safe in a path."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Request:
    """A request to the server."""

    method: str
    path: str
    """Path below the server's base URL."""
    query: Query = ()
    headers: Mapping[str, str] = dataclasses.field(default_factory=dict[str, str])
    body: Body | None = None
    read_timeout_seconds: float | None = QUICK_SECONDS
    """Silence after which the response counts as lost; None: no limit but the call's."""

    def without_recordings(self) -> "Request":
        """Return the same request without its recordings.

        It has no idempotency key, which would otherwise belong to two different bodies.
        """
        headers = {name: text for name, text in self.headers.items() if name != IDEMPOTENCY_KEY}
        body = None if self.body is None else self.body.without_recordings()
        return dataclasses.replace(
            self, body=body, headers=headers, read_timeout_seconds=QUICK_SECONDS
        )


def get(path: str, *, read_timeout_seconds: float = QUICK_SECONDS, **query: str | None) -> Request:
    """Return a request that changes nothing; parameters that are None are left out."""
    return Request(
        method="GET", path=path, query=_query(query), read_timeout_seconds=read_timeout_seconds
    )


def new_idempotency_key() -> str:
    """Return a random key of 128 bits."""
    return secrets.token_hex(16)


def transcription_request(
    upload: Upload, options: Options, response_format: ResponseFormat
) -> Request:
    """Return the request that transcribes a recording.

    The idempotency key prevents a second job if the server makes the recording one.
    """
    return Request(
        method="POST", path=TRANSCRIPTIONS, body=upload, read_timeout_seconds=None,
        query=_query({**options, "response_format": response_format}),
        headers={IDEMPOTENCY_KEY: new_idempotency_key()},
    )  # fmt: skip


def stream_request(upload: Upload, options: Options) -> Request:
    """Return the request that transcribes a recording as a stream of events."""
    return Request(
        method="POST", path=TRANSCRIPTIONS, body=upload, headers=_stream_headers(),
        query=_query({**options, "stream": "true"}), read_timeout_seconds=SILENCE_SECONDS,
    )  # fmt: skip


def resume_request(transcription_id: str, *, after: int) -> Request:
    """Return the request for a stream's events after a number; 0: for all of them."""
    return Request(
        method="GET", path=f"{TRANSCRIPTIONS}/{transcription_id}/events",
        headers=_stream_headers(str(after) if after else ""), read_timeout_seconds=SILENCE_SECONDS,
    )  # fmt: skip


def submission_request(
    files: Recordings | None,
    *,
    urls: Sequence[str],
    objects: Sequence[str],
    options: Options,
    response_format: ResponseFormat | None,
    metadata: Mapping[str, Any] | None,
    webhook_url: str | None,
    webhook_secret: str | None,
    expires_in: float | None,
    idempotency_key: str,
) -> Request:
    """Return the request that submits a job: a form of files, or a JSON document of addresses.

    Raises:
        ValueError: there are no recordings, or both files and addresses; or the metadata holds a
            number that is not finite.
        OSError: a file cannot be read.
    """
    if (files is None) == (not urls and not objects):
        raise ValueError("expected either files, or urls and objects; submit the two separately")
    if webhook_secret is not None and webhook_url is None:
        raise ValueError("webhook_secret needs webhook_url")
    chosen = {**options, "response_format": response_format}
    if files is None:
        query: Query = ()
        document: dict[str, object] = {
            "inputs": [*({"url": url} for url in urls), *({"object": key} for key in objects)],
            "options": _given(chosen),
            "webhook": _given({"url": webhook_url, "secret": webhook_secret}),
            "metadata": None if metadata is None else dict(metadata),
            "expires_in_seconds": expires_in,
        }
        body: Body = JSONBody({k: v for k, v in document.items() if v not in (None, {})})
    else:
        # Options go in the query, so that a wrong one is refused before the files are sent.
        query = _query(chosen)
        fields = {
            "metadata": None
            if metadata is None
            else json.dumps(dict(metadata), allow_nan=False, sort_keys=True),
            "webhook_url": webhook_url,
            "webhook_secret": webhook_secret,
            "expires_in_seconds": expires_in,
        }
        body = Form(files, _query(fields), seed=idempotency_key)
    return Request(
        method="POST", path=JOBS, query=query, body=body, read_timeout_seconds=None,
        headers={IDEMPOTENCY_KEY: idempotency_key},
    )  # fmt: skip


def job_path(job_id: str) -> str:
    """Return the path of a job.

    Raises:
        ValueError: the id is not one that the server could have given.
    """
    if not _ID.match(job_id):
        raise ValueError(f"job_id is {job_id[:100]!r}; expected one that the server gave")
    return f"{JOBS}/{job_id}"


def job_events_request(job_id: str, *, after: str = "") -> Request:
    """Return the request for a job's events after the one with this id; empty: for all of them."""
    return Request(
        method="GET", path=f"{job_path(job_id)}/events",
        headers=_stream_headers(after), read_timeout_seconds=SILENCE_SECONDS,
    )  # fmt: skip


def _stream_headers(last_event_id: str = "") -> dict[str, str]:
    headers = {"accept": "text/event-stream", "accept-encoding": "identity"}
    return {**headers, "last-event-id": last_event_id} if last_event_id else headers


def _given(values: Mapping[str, object]) -> dict[str, object]:
    return {name: value for name, value in values.items() if value is not None}


def _query(values: Mapping[str, object]) -> Query:
    """Return the parameters whose values are not None; a list repeats its name."""
    return tuple(
        (name, _text(each))
        for name, value in _given(values).items()
        for each in (value if isinstance(value, list | tuple) else (value,))
    )


def _text(value: object) -> str:
    """Return a value as the server reads it: numbers without an exponent."""
    return f"{decimal.Decimal(repr(value)):f}" if isinstance(value, float) else str(value)
