"""One caller of the service, for locust: sends a recording, hears notes, takes no for an answer.

`run.py` drives it in steps; it also works under locust's own page:

    .venv-load/bin/locust -f deploy/load/locustfile.py --host http://localhost:8000

Every second request asks for a stream, so that the time to the first note is measured where it
matters. A refusal (429, 503) is no failure: it is what the service promises under overload, at once
and with `Retry-After`. Anything else that is not 200, and a stream that ends without `completed`,
is one.
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
"""Of the recording, from its beginning: what each request has transcribed."""
KEY = os.environ.get("LOAD_KEY", "")
TIMEOUT_SECONDS = 120.0
"""No answer for so long is a request that hangs."""
_REFUSALS = (429, 503)
_JITTER = 0.25
_OK = 200
_SAMPLES = RECORDING.read_bytes()


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Attempt:
    """One request and what became of it."""

    at: float
    """When it was sent, seconds since 1970."""
    seconds: float
    """Until the answer's last byte."""
    status: int
    """0 where there was no answer."""
    retry_after_seconds: float | None = None
    first_note_seconds: float | None = None
    """Of a stream."""
    queue_seconds: float | None = None
    """Of an answer in one piece, by its `Server-Timing`."""
    error: str | None = None
    is_retry: bool = False
    """Whether it was sent when a refusal before it had said."""


ATTEMPTS: list[Attempt] = []
"""Of all callers in this process, in the order in which they ended."""


def attempt(session: Any, *, streams: bool, is_retry: bool = False) -> Attempt:
    """Sends one request and hears it out.

    Args:
        session: Of locust or of requests; takes paths.
        streams: Whether to ask for a stream.
        is_retry: Whether a refusal said to come now.
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
            found = _hear(answer, began, streams=streams)
            if found["status"] in _REFUSALS or found.get("error") is None:
                answer.success()
            else:
                answer.failure(found["error"])
    except RequestException as error:  # it broke off in the middle of the answer
        found = {"status": 0, "error": type(error).__name__}
    result = Attempt(at=at, seconds=time.perf_counter() - began, is_retry=is_retry, **found)
    ATTEMPTS.append(result)
    return result


def _hear(answer: Any, began: float, *, streams: bool) -> dict[str, Any]:
    status = answer.status_code
    found: dict[str, Any] = {"status": status}
    if status == 0:  # locust's word for no answer
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
        found |= _hear_stream(answer, began)
    else:
        document = json.loads(answer.content)
        found["queue_seconds"] = document["usage"]["queue_seconds"]
        if answer.headers.get("Server-Timing") is None:
            found["error"] = "no Server-Timing"
    return found


def _hear_stream(answer: Any, began: float) -> dict[str, Any]:
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
    """Sends as soon as it is answered; a refusal is followed by as long a wait as it asks for."""

    abstract = False
    streams = False
    waits = None
    """Seconds the last refusal asked for; None after an acceptance."""

    @task
    def transcribe(self) -> None:
        """One request, and the wait that its refusal asks for."""
        self.streams = not self.streams
        found = attempt(self.client, streams=self.streams, is_retry=self.waits is not None)
        self.waits = found.retry_after_seconds if found.status in _REFUSALS else None
        if found.status == 0:
            gevent.sleep(1)  # it is gone: do not spin
        elif self.waits is not None:
            # Later by a little, and not all at once: as clients that behave do.
            gevent.sleep(self.waits * random.uniform(1.0, 1.0 + _JITTER))  # noqa: S311
