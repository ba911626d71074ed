"""The client's exceptions, and the error responses that they are made from.

    MT3ClientError
    ├── ConnectionFailedError     no response: refused, dropped, or none in time
    ├── UnexpectedAnswerError     not a response of this API: another server, a proxy's page
    ├── JobFailedError            a job, or an item of one, has no result
    ├── WaitTimeoutError          a job has not ended within the timeout of `wait`
    ├── WebhookSignatureError     a webhook without a valid, recent signature
    └── APIError                  an error response; its problem document says why
        ├── InvalidRequestError   400, 406, 415, 422 and other 4xx: the request is at fault
        ├── UnauthorizedError     401: no API key, or an unknown one
        ├── ForbiddenError        403: the key lacks the scope
        ├── NotFoundError         404: no such path, stream, job or model
        ├── TooLargeError         413: more bytes or seconds than the server accepts
        ├── RateLimitedError      429: the key's limit of concurrent work is reached
        └── ServerError           5xx: a fault of the server
            └── ServerUnavailableError   502, 503, 504: temporary; a later attempt may succeed

Whatever can be retried has been retried before one of these is raised (`_retries.py`).
"""

import http.client
import json
from collections.abc import Mapping
from http import HTTPStatus

import httpx2

from service.client._retries import parse_retry_after

_MAX_SHOWN_CHARACTERS = 200
"""Characters of a foreign response that an error message shows."""


class MT3ClientError(Exception):
    """Base class of the client's exceptions."""


class ConnectionFailedError(MT3ClientError):
    """The server could not be reached, dropped the connection, or did not respond in time."""

    def __init__(
        self, message: str, *, is_transient: bool = True, was_dropped: bool = False
    ) -> None:
        super().__init__(message)
        self.is_transient = is_transient
        """Whether another attempt may succeed."""
        self.was_dropped = was_dropped
        """Whether the connection was established, and then lost before the response."""


class UnexpectedAnswerError(MT3ClientError):
    """The response is not one that this API gives."""


class JobFailedError(MT3ClientError):
    """A job, or an item of one, has ended without a result."""

    def __init__(self, message: str, *, code: str, job_id: str) -> None:
        super().__init__(f"{message} ({code})")
        self.code = code
        """Stable name of the reason, for example ``audio_undecodable``."""
        self.job_id = job_id


class WaitTimeoutError(MT3ClientError):
    """A job has not ended within the timeout of `wait`; it continues."""


class WebhookSignatureError(MT3ClientError):
    """A webhook was not signed with this secret, or not recently: do not trust it."""


class APIError(MT3ClientError):
    """The server returned an error: a problem document (RFC 9457), or a gateway's page.

    Attributes:
        status: HTTP status; for an ``error`` event, the status of its problem document.
        code: stable name of the error, for example ``audio_undecodable``; empty if the response is
            not the server's own.
        title: short description, the same for all errors of this code.
        detail: what was found, what was expected, what to do.
        param: name of the option at fault, or None.
        request_id: id of the request in the server's log, or None.
        retry_after: seconds after which the server asks to be called again, or None.
        state: state of the model if it is not ready (``loading``, ``warming``, ``draining`` or
            ``failed``), or None.
    """

    def __init__(
        self,
        *,
        status: int,
        code: str = "",
        title: str = "",
        detail: str = "",
        param: str | None = None,
        request_id: str | None = None,
        retry_after: float | None = None,
        state: str | None = None,
    ) -> None:
        super().__init__(f"{detail or title} ({code or status})")
        self.status = status
        self.code = code
        self.title = title
        self.detail = detail
        self.param = param
        self.request_id = request_id
        self.retry_after = retry_after
        self.state = state


class InvalidRequestError(APIError):
    """The request cannot be used: the recording, an option, or a header."""


class UnauthorizedError(APIError):
    """An API key is required, or the key is unknown or revoked."""


class ForbiddenError(APIError):
    """The API key lacks a scope; ``detail`` names it."""


class NotFoundError(APIError):
    """The path, stream, job or model does not exist."""


class TooLargeError(APIError):
    """More bytes, seconds or channels than the server accepts; ``detail`` names the limit."""


class RateLimitedError(APIError):
    """The API key's limit of concurrent work is reached."""


class ServerError(APIError):
    """The server failed."""


class ServerUnavailableError(ServerError):
    """The server is overloaded, starting or stopping, or its gateway cannot reach it."""


_CLASSES: Mapping[int, type[APIError]] = {
    HTTPStatus.UNAUTHORIZED: UnauthorizedError,
    HTTPStatus.FORBIDDEN: ForbiddenError,
    HTTPStatus.NOT_FOUND: NotFoundError,
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: TooLargeError,
    HTTPStatus.TOO_MANY_REQUESTS: RateLimitedError,
    HTTPStatus.BAD_GATEWAY: ServerUnavailableError,
    HTTPStatus.SERVICE_UNAVAILABLE: ServerUnavailableError,
    HTTPStatus.GATEWAY_TIMEOUT: ServerUnavailableError,
}


def error_from_response(response: httpx2.Response, *, now: float) -> APIError:
    """Return the exception for an error response, from the server or from a gateway.

    Args:
        response: a response that is not a success, with its body read.
        now: seconds since 1970, for a date in ``Retry-After``.

    Raises:
        UnexpectedAnswerError: the response is a redirect.
    """
    if response.status_code < HTTPStatus.BAD_REQUEST:
        location = response.headers.get("location", "nowhere")[:_MAX_SHOWN_CHARACTERS]
        raise UnexpectedAnswerError(
            f"the server answers {response.status_code} and redirects to {location};"
            " redirects are not followed: use the server's own address as base_url"
        )
    try:
        document: object = json.loads(response.content)
    except ValueError:
        document = None
    return _error_from_problem(
        document,
        status=response.status_code,
        retry_after=parse_retry_after(response.headers.get("retry-after"), now=now),
        request_id=response.headers.get("x-request-id"),
        text=response.content[:_MAX_SHOWN_CHARACTERS].decode("utf-8", "replace").strip(),
    )


def error_from_event(document: Mapping[str, object]) -> APIError:
    """Return the exception for a stream's ``error`` event, whose data is a problem document."""
    status = document.get("status")
    retry_after = document.get("retry_after_seconds")
    return _error_from_problem(
        document,
        status=status if isinstance(status, int) else HTTPStatus.INTERNAL_SERVER_ERROR,
        retry_after=float(retry_after) if isinstance(retry_after, int | float) else None,
    )


def _error_from_problem(
    document: object,
    *,
    status: int,
    retry_after: float | None,
    request_id: str | None = None,
    text: str = "",
) -> APIError:
    """Choose the class by the status, and read a problem document if there is one.

    Args:
        document: the parsed body; anything but an object is ignored.
        status: the HTTP status.
        retry_after: seconds, if the server named a time.
        request_id: id of the request, if a header has it.
        text: the body, which is the detail of a response without a problem document.
    """
    problem: Mapping[str, object] = document if isinstance(document, dict) else {}

    def member(name: str) -> str | None:
        value = problem.get(name)
        return value if isinstance(value, str) else None

    is_server_error = status >= HTTPStatus.INTERNAL_SERVER_ERROR
    error = _CLASSES.get(status, ServerError if is_server_error else InvalidRequestError)
    return error(
        status=status,
        code=member("code") or "",
        title=member("title") or http.client.responses.get(status, f"status {status}"),
        detail=member("detail") or text,
        param=member("param"),
        request_id=member("request_id") or request_id,
        retry_after=retry_after,
        state=member("state"),
    )
