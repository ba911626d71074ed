"""Hooks for schemathesis, which loads this module through SCHEMATHESIS_HOOKS.

- Bodies: the OpenAPI document only states "bytes". Besides arbitrary bytes, whole and damaged
  recordings are sent, so that requests reach the decoder.
- A check: every refusal is a problem document whose `status` is the HTTP status.
- Counting: responses by status, written as JSON to MT3_FUZZ_ANSWERS at the end.
"""

import atexit
import json
import os
import pathlib
import threading

import schemathesis
from hypothesis import strategies as st

from tests.fuzz.report import PartReport
from tests.fuzz.sounds import good_recording, seed_recordings

_RAW_TYPES = ("audio/*", "video/*", "application/octet-stream")
_report = PartReport(name="contract")
_lock = threading.Lock()


@st.composite
def recordings(draw: st.DrawFn) -> bytes:
    """Draw a recording, whole or with some bytes changed and perhaps its end cut off."""
    content = bytearray(draw(st.sampled_from([good_recording(0.5), *seed_recordings().values()])))
    for _ in range(draw(st.sampled_from([0, 0, 1, 4]))):
        content[draw(st.integers(0, len(content) - 1))] = draw(st.integers(0, 255))
    if draw(st.sampled_from([False, False, True])):
        del content[draw(st.integers(0, len(content) - 1)) :]
    return bytes(content)


schemathesis.openapi.media_type(
    _RAW_TYPES[0], st.one_of(recordings(), st.binary(max_size=2_000)), aliases=_RAW_TYPES[1:]
)
schemathesis.openapi.format("binary", st.one_of(recordings(), st.binary(max_size=500)))


@schemathesis.hook
def map_query(context, query):
    """Use the served model in most requests; another one is refused with 404 at once."""
    if query and len(str(query.get("model", ""))) > 1:
        query["model"] = "mt3"
    return query


@schemathesis.hook
def map_body(context, body):
    """Do the same in forms."""
    if isinstance(body, dict) and len(str(body.get("model", ""))) > 1:
        body["model"] = "mt3"
    return body


@schemathesis.check
def refusals_are_problem_documents(ctx, response, case) -> None:
    """Check problem documents: RFC 9457, with the fields of the API's own."""
    status = response.status_code
    code = None
    content_type = response.headers.get("content-type", [""])[0]
    if status >= 400 and case.method.upper() != "HEAD":
        assert content_type == "application/problem+json", f"{status} is {content_type!r}"
        problem = json.loads(response.content)
        code = problem["code"]
        assert problem["status"] == status
        missing = {"type", "title", "detail", "request_id"} - problem.keys()
        assert not missing, f"the problem document lacks {missing}"
        assert problem["request_id"] == response.headers["x-request-id"][0]
        assert b"Traceback" not in response.content
    if status in {429, 503}:
        assert int(response.headers["retry-after"][0]) >= 1
    with _lock:
        _report.tried += 1
        _report.count(status, code)


@atexit.register
def _write_answers() -> None:
    target = os.environ.get("MT3_FUZZ_ANSWERS")
    if target:
        pathlib.Path(target).write_text(
            json.dumps(
                {
                    "tried": _report.tried,
                    "answers": _report.answers,
                    "server_errors": _report.server_errors,
                }
            )
        )
