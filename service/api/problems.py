"""Errors -> RFC 9457 problem documents: the one table of status and code.

Every error of ours that a request can meet has a line here: the first class of the table that it
is an instance of gives its HTTP status, its stable ``code`` and its title; the error's own message
is the ``detail``, because our messages say what was found, what was expected and what to do.
Anything else is a fault of ours: 500, logged with its trace, of which the caller sees only the
request id.
"""

import dataclasses
import logging
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from mt3_model import errors as library
from service import errors
from service.api.schemas import ProblemShape
from service.observability.logging import log_event, request_id

MEDIA_TYPE = "application/problem+json"
_logger = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Problem:
    """A kind of problem."""

    status: HTTPStatus
    code: str
    """Stable, machine-readable."""
    title: str
    """The same for all occurrences."""


def _problem(status: HTTPStatus, code: str, title: str) -> Problem:
    return Problem(status=status, code=code, title=title)


PROBLEMS: Mapping[type[Exception], Problem] = {
    library.AudioFormatError: _problem(
        HTTPStatus.BAD_REQUEST, "audio_undecodable", "The recording cannot be read"
    ),
    library.AudioEmptyError: _problem(
        HTTPStatus.BAD_REQUEST, "audio_empty", "The recording holds no sound in the range asked for"
    ),
    library.AudioLimitError: _problem(
        HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "audio_too_long", "The recording exceeds a limit"
    ),
    library.OptionError: _problem(
        HTTPStatus.UNPROCESSABLE_ENTITY, "invalid_option", "An option cannot be used"
    ),
    errors.OverloadedError: _problem(
        HTTPStatus.SERVICE_UNAVAILABLE, "overloaded", "Too much is waiting"
    ),
    errors.QuotaError: _problem(
        HTTPStatus.TOO_MANY_REQUESTS, "quota_exceeded", "The key's limits are reached"
    ),
    errors.AuthenticationError: _problem(
        HTTPStatus.UNAUTHORIZED, "unauthenticated", "A key is needed"
    ),
    errors.ScopeError: _problem(HTTPStatus.FORBIDDEN, "forbidden", "The key does not open this"),
    errors.StreamNotFoundError: _problem(
        HTTPStatus.NOT_FOUND, "stream_not_found", "There is no such stream"
    ),
    errors.EngineError: _problem(
        HTTPStatus.SERVICE_UNAVAILABLE, "engine_failure", "The device failed"
    ),
    errors.DeadlineError: _problem(
        HTTPStatus.GATEWAY_TIMEOUT, "deadline_exceeded", "The deadline has passed"
    ),
    errors.NotReadyError: _problem(
        HTTPStatus.SERVICE_UNAVAILABLE, "not_ready", "The model is not ready"
    ),
    errors.ModelNotFoundError: _problem(
        HTTPStatus.NOT_FOUND, "model_not_found", "This model is not served here"
    ),
    errors.NotAcceptableError: _problem(
        HTTPStatus.NOT_ACCEPTABLE, "not_acceptable", "None of the accepted media types is offered"
    ),
    errors.UploadMalformedError: _problem(
        HTTPStatus.BAD_REQUEST, "malformed_form", "The multipart form cannot be used"
    ),
    errors.UploadEmptyError: _problem(
        HTTPStatus.BAD_REQUEST, "empty_body", "The request holds no audio"
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
        HTTPStatus.INSUFFICIENT_STORAGE, "no_storage", "No room for the recording"
    ),
    errors.UnsupportedMediaTypeError: _problem(
        HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "unsupported_media_type", "Not an audio type"
    ),
}
_TRY_AGAIN = (errors.OverloadedError, errors.QuotaError, errors.EngineError, errors.NotReadyError)
"""Those that know when trying again may help."""
INTERNAL = _problem(HTTPStatus.INTERNAL_SERVER_ERROR, "internal_error", "A fault of the server")

_HTTP_CODES = {
    HTTPStatus.NOT_FOUND: "not_found",
    HTTPStatus.METHOD_NOT_ALLOWED: "method_not_allowed",
}
"""What the framework itself answers; any other of its statuses is ``http_error``."""


def add_problem_handlers(app: FastAPI) -> None:
    """Makes every error of the application answer as a problem document."""
    for error_class in PROBLEMS:
        app.add_exception_handler(error_class, _handle_ours)
    app.add_exception_handler(HTTPException, _handle_http)
    app.add_exception_handler(RequestValidationError, _handle_validation)


def problem_responses(*problems: Problem) -> dict[int | str, dict[str, Any]]:
    """Describes these problems for the published contract, by status."""
    codes: dict[HTTPStatus, list[str]] = {}
    for problem in problems:
        codes.setdefault(problem.status, []).append(problem.code)
    schema = {"$ref": f"#/components/schemas/{ProblemShape.__name__}"}
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
    """Writes a problem document.

    Args:
        problem: Its kind.
        detail: This occurrence: what was found, expected, and to do.
        headers: Of the response, beside its own.
        **members: Further members of the document, such as ``param``.
    """
    body: dict[str, Any] = {
        "type": f"urn:mt3:problem:{problem.code}",
        "title": problem.title,
        "status": problem.status.value,
        "detail": detail,
        "code": problem.code,
        "request_id": request_id.get(),
        **members,
    }
    return JSONResponse(
        body, status_code=problem.status, headers=dict(headers or {}), media_type=MEDIA_TYPE
    )


def internal_problem_response() -> JSONResponse:
    """Writes the answer to a fault of ours, which tells nothing of its cause."""
    return problem_response(
        INTERNAL,
        "the server failed; the request can be tried again, and its id names the log entry",
    )


async def _handle_ours(request: Request, error: Exception) -> JSONResponse:
    del request
    problem = next(known for kind, known in PROBLEMS.items() if isinstance(error, kind))
    headers: dict[str, str] = {}
    members: dict[str, object] = {}
    if isinstance(error, _TRY_AGAIN):
        headers["Retry-After"] = str(error.retry_after_seconds)
    if isinstance(error, errors.AuthenticationError):
        headers["WWW-Authenticate"] = "Bearer"
    if isinstance(error, errors.UploadError):
        # The rest of the body is not read: the connection cannot be used again.
        headers["Connection"] = "close"
    if isinstance(error, errors.NotReadyError):
        members["state"] = error.state
    if isinstance(error, library.OptionError):
        members["param"] = error.parameter
    if isinstance(error, errors.ModelNotFoundError):
        members["param"] = "model"
    log_event(_logger, "request_refused", code=problem.code)
    return problem_response(problem, str(error), headers=headers, **members)


async def _handle_http(request: Request, error: Exception) -> JSONResponse:
    """The framework's own: no such path, no such method."""
    assert isinstance(error, HTTPException)
    status = HTTPStatus(error.status_code)
    problem = Problem(
        status=status, code=_HTTP_CODES.get(status, "http_error"), title=status.phrase
    )
    match status:
        case HTTPStatus.NOT_FOUND:
            detail = f"there is nothing at {request.url.path}; see /openapi.json for what there is"
        case HTTPStatus.METHOD_NOT_ALLOWED:
            allowed = (error.headers or {}).get("Allow", "another method")
            detail = f"{request.method} is not possible at {request.url.path}; expected {allowed}"
        case _:
            detail = str(error.detail)
    return problem_response(problem, detail, headers=error.headers)


async def _handle_validation(request: Request, error: Exception) -> JSONResponse:
    """A parameter that FastAPI itself checked."""
    del request
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    parameter = str(first["loc"][-1])
    return problem_response(
        PROBLEMS[library.OptionError], f"{parameter}: {first['msg']}", param=parameter
    )
