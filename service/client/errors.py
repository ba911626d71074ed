"""Everything the client raises on purpose.

    MT3ClientError
    ├── ConnectionFailedError     no answer: refused, broken off, or none in time
    ├── UnexpectedAnswerError     an answer that is not this API's: another server, a proxy's page
    ├── JobFailedError            a job, or an item of one, has no result
    ├── WaitTimeoutError          a job that was waited for has not ended in time
    ├── WebhookSignatureError     a webhook that this secret did not sign, or not lately
    └── APIError                  the server refused; it says why
        ├── InvalidRequestError   400, 406, 415, 422...: what was sent is at fault
        ├── UnauthorizedError     401: no key, or one that is not known
        ├── ForbiddenError        403: the key does not open this
        ├── NotFoundError         404: no such path, stream or model
        ├── TooLargeError         413: more bytes or seconds than the server takes
        ├── RateLimitedError      429: the key has as much under way as it may
        └── ServerError           5xx: a fault of the server's
            └── ServerUnavailableError   502, 503, 504: not now; trying later may help

What can be tried again has been, before one of these is raised (`retries.py`).
"""

import dataclasses
import json
from collections.abc import Mapping
from http import HTTPStatus

from service.client.retries import retry_after_seconds
from service.client.steps import Reply

_SHOWN_CHARACTERS = 200


class MT3ClientError(Exception):
    """Anything the client raises on purpose."""


class ConnectionFailedError(MT3ClientError):
    """The server cannot be reached, broke off, or was silent for too long."""


class UnexpectedAnswerError(MT3ClientError):
    """The answer is not what this API gives."""


class JobFailedError(MT3ClientError):
    """A job, or an item of one, has ended without a result."""

    def __init__(self, message: str, *, code: str, job_id: str) -> None:
        super().__init__(f"{message} ({code})")
        self.code = code
        """Stable name of the reason, for example ``audio_undecodable``."""
        self.job_id = job_id


class WaitTimeoutError(MT3ClientError):
    """A job that was waited for has not ended in time; it goes on."""


class WebhookSignatureError(MT3ClientError):
    """A webhook that was not signed with this secret, or not lately: not to be believed."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Problem:
    """A refusal as the server words it: RFC 9457's members and ours."""

    status: int
    """Of HTTP."""
    code: str
    """Stable name of the kind of error, for example ``audio_undecodable``; empty if unsaid."""
    title: str
    """The same for all errors of the kind."""
    detail: str
    """What was found, what was expected, what to do."""
    param: str | None = None
    """The option at fault, where one is."""
    request_id: str | None = None
    """Names the request in the server's log."""
    retry_after: float | None = None
    """Seconds after which the server asks to be tried again."""
    state: str | None = None
    """Of the model, where it is not ready: ``loading``, ``warming``, ``draining``, ``failed``."""


class APIError(MT3ClientError):
    """The server refused. Its fields are those of `Problem`."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(f"{problem.detail or problem.title} ({problem.code or problem.status})")
        self.problem = problem

    @property
    def status(self) -> int:
        """Of HTTP; of an ``error`` event, the one that its problem names."""
        return self.problem.status

    @property
    def code(self) -> str:
        """Stable name of the kind of error; empty where the answer is not the server's own."""
        return self.problem.code

    @property
    def title(self) -> str:
        """The same for all errors of the kind."""
        return self.problem.title

    @property
    def detail(self) -> str:
        """What was found, what was expected, what to do."""
        return self.problem.detail

    @property
    def param(self) -> str | None:
        """The option at fault, where one is."""
        return self.problem.param

    @property
    def request_id(self) -> str | None:
        """Names the request in the server's log."""
        return self.problem.request_id

    @property
    def retry_after(self) -> float | None:
        """Seconds after which the server asks to be tried again."""
        return self.problem.retry_after

    @property
    def state(self) -> str | None:
        """Of the model, where it is not ready."""
        return self.problem.state


class InvalidRequestError(APIError):
    """What was sent cannot be used: the recording, an option, a header."""


class UnauthorizedError(APIError):
    """A key is needed, or the one sent is not known (any more)."""


class ForbiddenError(APIError):
    """The key does not open this; ``detail`` names the scope that does."""


class NotFoundError(APIError):
    """There is no such thing: a path, a stream, a model."""


class TooLargeError(APIError):
    """More bytes, seconds or channels than the server takes; ``detail`` names the limit."""


class RateLimitedError(APIError):
    """The key has as much under way as it may."""


class ServerError(APIError):
    """A fault of the server's."""


class ServerUnavailableError(ServerError):
    """Not now: overloaded, starting, stopping, or a gateway without it."""


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
"""Statuses with a class of their own; the others go by their hundred."""


def api_error(problem: Problem) -> APIError:
    """Chooses the class by the status."""
    if problem.status in _CLASSES:
        return _CLASSES[problem.status](problem)
    if problem.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return ServerError(problem)
    return InvalidRequestError(problem)


def error_of_reply(reply: Reply, *, now: float) -> APIError:
    """Reads a refusal, whoever wrote it: our server's problem document, or a gateway's page.

    Args:
        reply: An answer that is no success.
        now: Seconds since 1970, against which a date in ``Retry-After`` counts.

    Raises:
        UnexpectedAnswerError: It is no refusal either, but points elsewhere.
    """
    if reply.status < HTTPStatus.BAD_REQUEST:
        elsewhere = reply.headers.get("location", "nowhere")
        raise UnexpectedAnswerError(
            f"the server answers {reply.status} and points to {elsewhere[:_SHOWN_CHARACTERS]};"
            " redirects are not followed: give the client the address itself"
        )
    retry_after = retry_after_seconds(reply.headers.get("retry-after"), now=now)
    request_id = reply.headers.get("x-request-id")
    try:
        document: object = json.loads(reply.body)
    except ValueError:
        document = None
    return _error_of_document(
        document, status=reply.status, retry_after=retry_after, request_id=request_id,
        otherwise=reply.body[:_SHOWN_CHARACTERS].decode("utf-8", "replace").strip(),
    )  # fmt: skip


def error_of_event(document: Mapping[str, object]) -> APIError:
    """Reads a stream's ``error`` event: a problem document that says what headers would."""
    status = document.get("status")
    retry_after = document.get("retry_after_seconds")
    return _error_of_document(
        document,
        status=status if isinstance(status, int) else HTTPStatus.INTERNAL_SERVER_ERROR,
        retry_after=float(retry_after) if isinstance(retry_after, int | float) else None,
    )


def _error_of_document(
    document: object,
    *,
    status: int,
    retry_after: float | None = None,
    request_id: str | None = None,
    otherwise: str = "",
) -> APIError:
    """Reads a problem document; anything but an object says nothing."""
    known: Mapping[str, object] = document if isinstance(document, dict) else {}

    def text(name: str) -> str | None:
        value = known.get(name)
        return value if isinstance(value, str) else None

    return api_error(
        Problem(
            status=status,
            code=text("code") or "",
            title=text("title") or _phrase(status),
            detail=text("detail") or otherwise,
            param=text("param"),
            request_id=text("request_id") or request_id,
            retry_after=retry_after,
            state=text("state"),
        )
    )


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return f"status {status}"
