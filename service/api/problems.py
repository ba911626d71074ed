"""Turn errors into RFC 9457 problem documents, by one table of statuses and codes.

Every error that a request can raise has a row in the table. The first class that an error is an
instance of determines its HTTP status, its stable ``code`` and its title. The error's message is
the ``detail``: it says what was found, what was expected and what to do. Any other error is a bug:
the answer is 500 with only the request id, and the traceback is logged.
"""

import dataclasses
import logging
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.routing import Match

from mt3_model import errors as library
from service import errors
from service.api.uploads.content_encoding import ACCEPTED
from service.observability.logging import add_request_fields, log_event, request_id
from service.schemas.problem_response import ProblemResponse

MEDIA_TYPE = "application/problem+json"
_logger = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Problem:
    """A kind of problem."""

    status: HTTPStatus
    code: str
    """Stable, machine-readable identifier."""
    title: str
    """Summary, the same for all occurrences."""


def _problem(status: HTTPStatus, code: str, title: str) -> Problem:
    return Problem(status=status, code=code, title=title)


PROBLEMS: Mapping[type[Exception], Problem] = {
    library.AudioFormatError: _problem(
        HTTPStatus.BAD_REQUEST, "audio_undecodable", "The recording cannot be read"
    ),
    library.AudioEmptyError: _problem(
        HTTPStatus.BAD_REQUEST, "audio_empty", "The recording has no sound in the requested range"
    ),
    library.AudioLimitError: _problem(
        HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "audio_too_long", "The recording exceeds a limit"
    ),
    library.AudioTrackError: _problem(
        HTTPStatus.UNPROCESSABLE_ENTITY,
        "audio_track_not_found",
        "The recording has no such audio track",
    ),
    library.DecoderStartError: _problem(
        HTTPStatus.SERVICE_UNAVAILABLE, "decoder_not_started", "The decoder cannot be started"
    ),
    library.DecoderKilledError: _problem(
        HTTPStatus.SERVICE_UNAVAILABLE, "decoder_killed", "The decoder was killed"
    ),
    library.ScorePagesError: _problem(
        HTTPStatus.SERVICE_UNAVAILABLE, "score_not_drawn", "The score's pages cannot be drawn"
    ),
    library.OptionError: _problem(
        HTTPStatus.UNPROCESSABLE_ENTITY, "invalid_option", "An option cannot be used"
    ),
    errors.OverloadedError: _problem(
        HTTPStatus.SERVICE_UNAVAILABLE, "overloaded", "Too much work is waiting"
    ),
    errors.QuotaError: _problem(
        HTTPStatus.TOO_MANY_REQUESTS, "quota_exceeded", "The caller's limits are reached"
    ),
    errors.AuthenticationError: _problem(
        HTTPStatus.UNAUTHORIZED, "unauthenticated", "An API key is required"
    ),
    errors.ScopeError: _problem(HTTPStatus.FORBIDDEN, "forbidden", "The key does not allow this"),
    errors.HostNotAllowedError: _problem(
        HTTPStatus.MISDIRECTED_REQUEST, "host_not_allowed", "The host is not a name of this server"
    ),
    errors.OriginNotAllowedError: _problem(
        HTTPStatus.FORBIDDEN, "origin_not_allowed", "Pages of other sites are not allowed"
    ),
    errors.KeysNotConfiguredError: _problem(
        HTTPStatus.FORBIDDEN,
        "keys_not_configured",
        "Other machines are not allowed without API keys",
    ),
    errors.MalformedTargetError: _problem(
        HTTPStatus.BAD_REQUEST, "malformed_request", "The request is not valid HTTP"
    ),
    errors.HeadTooLargeError: _problem(
        HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE,
        "head_too_large",
        "Too many or too large headers",
    ),
    errors.StreamNotFoundError: _problem(
        HTTPStatus.NOT_FOUND, "stream_not_found", "There is no such stream"
    ),
    errors.EngineError: _problem(
        HTTPStatus.SERVICE_UNAVAILABLE, "engine_failure", "The device failed"
    ),
    errors.NotReadyError: _problem(
        HTTPStatus.SERVICE_UNAVAILABLE, "not_ready", "The server is not ready"
    ),
    errors.ModelNotFoundError: _problem(
        HTTPStatus.NOT_FOUND, "model_not_found", "This model is not served here"
    ),
    errors.NotAcceptableError: _problem(
        HTTPStatus.NOT_ACCEPTABLE, "not_acceptable", "None of the accepted media types is available"
    ),
    errors.JobsDisabledError: _problem(
        HTTPStatus.NOT_FOUND, "jobs_disabled", "This server accepts no jobs"
    ),
    errors.JobNotFoundError: _problem(
        HTTPStatus.NOT_FOUND, "job_not_found", "There is no such job"
    ),
    errors.JobUnreadableError: _problem(
        HTTPStatus.CONFLICT, "job_unreadable", "The job is stored in a form that cannot be read"
    ),
    errors.JobConflictError: _problem(
        HTTPStatus.CONFLICT, "job_conflict", "The job's state does not allow it"
    ),
    errors.IdempotencyError: _problem(
        HTTPStatus.UNPROCESSABLE_ENTITY,
        "idempotency_conflict",
        "The idempotency key belongs to another body",
    ),
    errors.JobsUnavailableError: _problem(
        HTTPStatus.SERVICE_UNAVAILABLE, "jobs_unavailable", "The job database cannot be reached"
    ),
    errors.StorageNotFoundError: _problem(
        HTTPStatus.NOT_FOUND, "object_not_found", "There is no such object"
    ),
    errors.StorageFullError: _problem(
        HTTPStatus.INSUFFICIENT_STORAGE, "storage_full", "The storage is full"
    ),
    errors.StorageUnavailableError: _problem(
        HTTPStatus.SERVICE_UNAVAILABLE, "storage_unavailable", "The storage is not available"
    ),
    errors.UploadMalformedError: _problem(
        HTTPStatus.BAD_REQUEST, "malformed_form", "The multipart form cannot be used"
    ),
    errors.UploadMangledError: _problem(
        HTTPStatus.BAD_REQUEST, "mangled_body", "The body is not the recording's bytes"
    ),
    errors.UploadEncodingError: _problem(
        HTTPStatus.BAD_REQUEST, "malformed_encoding", "The body cannot be decompressed"
    ),
    errors.UnsupportedEncodingError: _problem(
        HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "unsupported_encoding", "Unsupported Content-Encoding"
    ),
    errors.UploadEmptyError: _problem(
        HTTPStatus.BAD_REQUEST, "empty_body", "The request contains no audio"
    ),
    errors.UploadTooLargeError: _problem(
        HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "upload_too_large", "The recording is too large"
    ),
    errors.UploadTimeoutError: _problem(
        HTTPStatus.REQUEST_TIMEOUT, "upload_timeout", "The upload stopped"
    ),
    errors.UploadAbortedError: _problem(
        HTTPStatus.BAD_REQUEST, "upload_aborted", "The upload was aborted"
    ),
    errors.UploadStorageError: _problem(
        HTTPStatus.INSUFFICIENT_STORAGE, "no_storage", "No disk space for the recording"
    ),
    errors.UnsupportedMediaTypeError: _problem(
        HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "unsupported_media_type", "Not an audio media type"
    ),
}
_METHODS = ("DELETE", "GET", "PATCH", "POST", "PUT")
_PROCESS_ERRORS = (library.DecoderStartError, library.DecoderKilledError, library.ScorePagesError)
_PROCESS_RETRY_SECONDS = 5
"""A shortage of memory has usually ended by then."""
INTERNAL = _problem(HTTPStatus.INTERNAL_SERVER_ERROR, "internal_error", "Internal server error")
INTERNAL_DETAIL = (
    "the server failed; the request can be tried again, and its id names the log entry"
)

_HTTP_CODES = {
    HTTPStatus.NOT_FOUND: "not_found",
    HTTPStatus.METHOD_NOT_ALLOWED: "method_not_allowed",
}
"""Codes of the framework's own errors; any other status is ``http_error``."""


def add_problem_handlers(app: FastAPI) -> None:
    """Answer every error of the application with a problem document."""
    for error_class in PROBLEMS:
        app.add_exception_handler(error_class, _handle_error)
    app.add_exception_handler(HTTPException, _handle_http)
    app.add_exception_handler(RequestValidationError, _handle_validation)


def problem_responses(*problems: Problem) -> dict[int | str, dict[str, Any]]:
    """Describe problems for the published contract, grouped by status."""
    codes: dict[HTTPStatus, list[str]] = {}
    for problem in problems:
        codes.setdefault(problem.status, []).append(problem.code)
    schema = {"$ref": f"#/components/schemas/{ProblemResponse.__name__}"}
    return {
        status.value: {
            "description": ", ".join(codes[status]),
            "content": {MEDIA_TYPE: {"schema": schema}},
        }
        for status in sorted(codes)
    }


def problem_response(
    problem: Problem,
    detail: str,
    *,
    headers: Mapping[str, str] | None = None,
    **members: object,
) -> JSONResponse:
    """Return a response with a problem document.

    Args:
        problem: The kind of problem.
        detail: Explanation: what was found, what was expected and what to do.
        headers: Additional headers of the response.
        **members: Further members of the document, such as ``param``.
    """
    add_request_fields(code=problem.code)
    body = problem_document(problem, detail, **members)
    return JSONResponse(
        body, status_code=problem.status, headers=dict(headers or {}), media_type=MEDIA_TYPE
    )


def problem_document(problem: Problem, detail: str, **members: object) -> dict[str, Any]:
    """Return the problem document of the current request, for a response or an event stream.

    Args:
        problem: The kind of problem.
        detail: Explanation: what was found, what was expected and what to do.
        **members: Further members, such as ``param``.
    """
    return {
        "type": f"urn:mt3:problem:{problem.code}",
        "title": problem.title,
        "status": problem.status.value,
        "detail": detail,
        "code": problem.code,
        "request_id": request_id.get(),
        **members,
    }


def find_problem(error: Exception) -> Problem | None:
    """Return the table's entry for an error; None for an unexpected error."""
    return next((known for kind, known in PROBLEMS.items() if isinstance(error, kind)), None)


def problem_members(error: Exception) -> dict[str, object]:
    """Return the further members of an error's document."""
    members: dict[str, object] = {}
    if isinstance(error, errors.NotReadyError):
        members["state"] = error.state
    if isinstance(error, library.OptionError):
        members["param"] = error.parameter
    if isinstance(error, errors.ModelNotFoundError):
        members["param"] = "model"
    if isinstance(error, library.AudioTrackError):
        members["param"] = "audio_track"
    return members


def retry_after_seconds(error: Exception) -> int | None:
    """Return the seconds after which a retry may succeed; None if unknown."""
    if isinstance(error, _PROCESS_ERRORS):
        return _PROCESS_RETRY_SECONDS
    return error.retry_after_seconds if isinstance(error, errors.RetryLaterError) else None


def internal_problem_response() -> JSONResponse:
    """Return the response to an unexpected error, which does not reveal its cause."""
    return problem_response(INTERNAL, INTERNAL_DETAIL)


async def _handle_error(request: Request, error: Exception) -> JSONResponse:
    del request
    return error_response(error)


def error_response(error: Exception) -> JSONResponse:
    """Return the response to an error of the table, and log the refusal."""
    problem = find_problem(error)
    assert problem is not None, "registered for the classes of the table"
    headers: dict[str, str] = {}
    retry_after = retry_after_seconds(error)
    if retry_after is not None:
        headers["Retry-After"] = str(retry_after)
    if isinstance(error, errors.AuthenticationError):
        headers["WWW-Authenticate"] = "Bearer"
    if isinstance(error, errors.UnsupportedEncodingError):
        headers["Accept-Encoding"] = ", ".join(ACCEPTED)  # RFC 9110, 15.5.16
    if isinstance(error, errors.UploadError):
        # The rest of the body is not read, so the connection cannot be reused.
        headers["Connection"] = "close"
    log_event(_logger, "request_refused", code=problem.code)
    return problem_response(problem, str(error), headers=headers, **problem_members(error))


async def _handle_http(request: Request, error: Exception) -> Response:
    """Answer the framework's own errors: unknown path, wrong method.

    OPTIONS, which has no routes, is answered with the path's methods.
    """
    assert isinstance(error, HTTPException)
    status = HTTPStatus(error.status_code)
    problem = Problem(
        status=status, code=_HTTP_CODES.get(status, "http_error"), title=status.phrase
    )
    headers = dict(error.headers or {})
    match status:
        case HTTPStatus.NOT_FOUND:
            detail = f"there is nothing at {request.url.path}; see /openapi.json for what there is"
        case HTTPStatus.METHOD_NOT_ALLOWED:
            allowed = ", ".join(_methods_at(request))
            headers["Allow"] = allowed
            if request.method == "OPTIONS":
                return Response(status_code=HTTPStatus.NO_CONTENT, headers=headers)
            method = "HEAD" if request.state.is_head else request.method
            detail = f"{method} is not possible at {request.url.path}; expected {allowed}"
        case _:
            detail = str(error.detail)
    return problem_response(problem, detail, headers=headers)


def _methods_at(request: Request) -> list[str]:
    """Return all methods of the path (RFC 9110, 10.2.1), which several routes may share."""
    found = [
        method
        for method in _METHODS
        if any(
            route.matches({**request.scope, "method": method})[0] is Match.FULL
            for route in request.app.routes
        )
    ]
    served_as_get = ["HEAD"] if "GET" in found else []
    return sorted({*found, *served_as_get, "OPTIONS"})


async def _handle_validation(request: Request, error: Exception) -> JSONResponse:
    """Answer an invalid parameter that FastAPI found."""
    del request
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    parameter = str(first["loc"][-1])
    return problem_response(
        PROBLEMS[library.OptionError],
        f"{parameter}: {first['msg'].removeprefix('Value error, ')}",
        param=parameter,
    )
