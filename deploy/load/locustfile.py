"""A caller for locust, which sends a recording, reads the notes and obeys `Retry-After`.

`run.py` uses it; it also works with locust's own page:

    .venv-load/bin/locust -f deploy/load/locustfile.py --host http://localhost:8000

Every second request is a stream, which measures the time to the first note. A refusal (429, 503
with `Retry-After`) is not a failure: it is the documented response to overload. Any other status
than 200 is a failure, and so is a stream that ends without `completed`.
"""

import dataclasses
import json
import os
import pathlib
import random
import time
from typing import Any

import gevent
from locust import HttpUser, task
from requests import RequestException

RECORDING = pathlib.Path(
    os.environ.get(
        "LOAD_RECORDING", pathlib.Path(__file__).parents[2] / "tests" / "demo" / "demo.ogg"
    )
)
SECONDS = float(os.environ.get("LOAD_SECONDS", "8"))
"""Length of the recording's beginning that each request transcribes."""
KEY = os.environ.get("LOAD_KEY", "")
TIMEOUT_SECONDS = 120.0
"""A request without a response after this time counts as hung."""
_REFUSALS = (429, 503)
_JITTER = 0.25
_OK = 200
_SAMPLES = RECORDING.read_bytes()


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Attempt:
    """One request and its outcome."""

    at: float
    """Time of sending, seconds since 1970."""
    seconds: float
    """Time until the response's last byte."""
    status: int
    """HTTP status; 0 without a response."""
    retry_after_seconds: float | None = None
    first_note_seconds: float | None = None
    """Time to the first note of a stream."""
    queue_seconds: float | None = None
    """Time in the queue, from the response's own usage; not of a stream."""
    error: str | None = None
    is_retry: bool = False
    """Whether it follows a refusal, after its `Retry-After`."""


ATTEMPTS: list[Attempt] = []
"""Attempts of all callers in this process, in the order in which they ended."""


def attempt(session: Any, *, streams: bool, is_retry: bool = False) -> Attempt:
    """Send one request and read the whole response.

    Args:
        session: a session of locust, whose URLs are paths.
        streams: whether to request a stream.
        is_retry: whether this request follows a refusal.
    """
    at, began = time.time(), time.perf_counter()
    parameters = {"end": f"{SECONDS:g}"} | ({"stream": "true"} if streams else {})
    headers = {"Content-Type": "application/octet-stream"}
    if KEY:
        headers["Authorization"] = f"Bearer {KEY}"
    found: dict[str, Any]
    try:
        with session.post(
            "/v1/transcriptions", params=parameters, data=_SAMPLES, headers=headers,
            timeout=TIMEOUT_SECONDS, stream=True, name="stream" if streams else "whole",
            catch_response=True,
        ) as answer:  # fmt: skip
            found = _read_response(answer, began, streams=streams)
            if found["status"] in _REFUSALS or found.get("error") is None:
                answer.success()
            else:
                answer.failure(found["error"])
    except RequestException as error:  # the connection broke during the response
        found = {"status": 0, "error": type(error).__name__}
    result = Attempt(at=at, seconds=time.perf_counter() - began, is_retry=is_retry, **found)
    ATTEMPTS.append(result)
    return result


def _read_response(answer: Any, began: float, *, streams: bool) -> dict[str, Any]:
    status = answer.status_code
    found: dict[str, Any] = {"status": status}
    if status == 0:  # locust's status without a response
        return found | {"error": f"no answer: {answer.error!r}"}
    if status in _REFUSALS:
        text = answer.headers.get("Retry-After", "")
        found["retry_after_seconds"] = float(text) if text.isdigit() else None
        _ = answer.content
        if not text.isdigit():
            found["error"] = f"{status} without Retry-After"
    elif status != _OK:
        found["error"] = f"{status}: {answer.text[:200]}"
    elif streams:
        found |= _read_stream(answer, began)
    else:
        document = json.loads(answer.content)
        found["queue_seconds"] = document["usage"]["queue_seconds"]
        if answer.headers.get("Server-Timing") is None:
            found["error"] = "no Server-Timing"
    return found


def _read_stream(answer: Any, began: float) -> dict[str, Any]:
    found: dict[str, Any] = {}
    last = None
    for line in answer.iter_lines():
        if line.startswith(b"event:"):
            last = line[6:].strip().decode()
            if last == "note" and not found:
                found["first_note_seconds"] = time.perf_counter() - began
    if last != "completed":
        found["error"] = f"the stream ended with {last}"
    return found


class Caller(HttpUser):
    """Sends requests one after another, and waits for `Retry-After` after a refusal."""

    abstract = False
    streams = False
    waits = None
    """`Retry-After` of the last refusal; None after an acceptance."""

    @task
    def transcribe(self) -> None:
        """Send one request; after a refusal, wait."""
        self.streams = not self.streams
        found = attempt(self.client, streams=self.streams, is_retry=self.waits is not None)
        self.waits = found.retry_after_seconds if found.status in _REFUSALS else None
        if found.status == 0:
            gevent.sleep(1)  # the server is gone: do not spin
        elif self.waits is not None:
            # With jitter, as well-behaved clients do.
            gevent.sleep(self.waits * random.uniform(1.0, 1.0 + _JITTER))  # noqa: S311
