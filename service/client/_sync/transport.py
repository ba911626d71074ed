# Generated from ../_async/transport.py by `make sync-client`: do not edit.
"""Send requests with retries, and read responses."""

import contextlib
from types import TracebackType
from typing import Self

import httpx2

from service.client._config import connection_error, request_arguments
from service.client._errors import (
    APIError,
    ConnectionFailedError,
    MT3ClientError,
    error_from_response,
)
from service.client._io import Sleep, chunks, sleep
from service.client._requests import Request
from service.client._retries import FIRST_BOUND_SECONDS, Attempts, RetryPolicy, is_retryable

_NO_RECORDING_CODES = frozenset({"empty_body", "malformed_form"})
"""Error codes that only say that a request has no recording."""


class Transport:
    """Sends requests to one server; raises `MT3ClientError` once no attempt is left."""

    def __init__(self, http: httpx2.Client, policy: RetryPolicy, sleep: Sleep = sleep) -> None:
        """Initialize the transport.

        Args:
            http: the connections to the server.
            policy: how often and for how long calls are retried.
            sleep: waits between attempts.
        """
        self.policy = policy
        self.sleep = sleep
        self._http = http

    def send(self, request: Request, attempts: Attempts | None = None) -> httpx2.Response:
        """Send a request until it succeeds, and return the response with its body read.

        Args:
            request: its body is sent again from the first byte, or not at all.
            attempts: the attempts of the call; a new count if missing.

        Raises:
            ConnectionFailedError: the last attempt had no response.
            APIError: the last attempt had an error response.
        """
        attempts = attempts or self.policy.attempts()
        return self._send_with_retries(request, attempts, FIRST_BOUND_SECONDS, stream=False)

    def open(
        self, request: Request, attempts: Attempts, *, bound_seconds: float = FIRST_BOUND_SECONDS
    ) -> "StreamedResponse":
        """Send a request until it succeeds, and return the response to be read and closed.

        Args:
            request: as in `send`.
            attempts: as in `send`.
            bound_seconds: bound of the first wait.
        """
        return StreamedResponse(
            self._send_with_retries(request, attempts, bound_seconds, stream=True)
        )

    def send_once(self, request: Request) -> httpx2.Response:
        """Send a request without retries, and return the response with its body read."""
        return self._send(request, request.read_timeout_seconds, stream=False)

    def open_once(self, request: Request) -> "StreamedResponse":
        """Send a request without retries, and return the response to be read and closed."""
        return StreamedResponse(self._send(request, request.read_timeout_seconds, stream=True))

    def pause(
        self,
        attempts: Attempts,
        failure: MT3ClientError,
        *,
        bound_seconds: float = FIRST_BOUND_SECONDS,
    ) -> None:
        """Wait before the next attempt.

        Raises:
            MT3ClientError: the failure, because no attempt is left.
        """
        retry_after = failure.retry_after if isinstance(failure, APIError) else None
        seconds = attempts.next_wait(retry_after=retry_after, bound_seconds=bound_seconds)
        if seconds is None:
            raise failure
        self.sleep(seconds)

    def _send_with_retries(
        self, request: Request, attempts: Attempts, bound_seconds: float, *, stream: bool
    ) -> httpx2.Response:
        while True:
            limits = (request.read_timeout_seconds, attempts.seconds_left())
            timeout = min((limit for limit in limits if limit is not None), default=None)
            try:
                return self._send_explained(request, timeout, stream=stream)
            except ConnectionFailedError as error:
                failure, can_retry = error, error.is_transient
            except APIError as error:
                failure = error
                can_retry = is_retryable(error.status, code=error.code, param=error.param)
            if not can_retry or (request.body is not None and not request.body.can_be_sent):
                raise failure
            self.pause(attempts, failure, bound_seconds=bound_seconds)

    def _send_explained(
        self, request: Request, timeout_seconds: float | None, *, stream: bool
    ) -> httpx2.Response:
        """Send a request; if an upload is dropped, find out whether it was refused.

        A server that refuses an upload before its end responds and closes the connection. The bytes
        that it has not read reset the connection, and the response may be lost with it (asyncio
        discards what it has received when a write fails). The same request without its recordings
        gets the same error for its key, its options or its time.
        """
        try:
            return self._send(request, timeout_seconds, stream=stream)
        except ConnectionFailedError as error:
            body = request.body
            if not error.was_dropped or body is None or not body.has_recordings:
                raise
            dropped = error
        try:
            self._send(
                request.without_recordings(),
                request.without_recordings().read_timeout_seconds,
                stream=False,
            )
        except ConnectionFailedError:
            pass
        except APIError as refusal:
            if refusal.code not in _NO_RECORDING_CODES:
                raise
            size = "" if body.length is None else f" of {body.length:,} bytes"
            raise ConnectionFailedError(
                f"{dropped}, in an upload{size} (is it too large?)",
                is_transient=dropped.is_transient,
            ) from dropped
        raise dropped

    def _send(
        self, request: Request, timeout_seconds: float | None, *, stream: bool
    ) -> httpx2.Response:
        content = None if request.body is None else chunks(request.body)
        arguments = request_arguments(request, timeout_seconds)
        try:
            response = self._http.send(
                self._http.build_request(**arguments, content=content), stream=True
            )
            if stream and response.is_success:
                return response
            try:
                response.read()
            finally:
                response.close()
        except httpx2.RequestError as error:
            raise connection_error(error) from error
        if not response.is_success:
            raise error_from_response(response, now=self.policy.now())
        return response


class StreamedResponse:
    """A successful response whose body is read in chunks; closed by its `with` block."""

    def __init__(self, response: httpx2.Response) -> None:
        self.status = response.status_code
        self.headers = response.headers
        self._response = response
        self._chunks = response.iter_bytes()

    def read(self) -> bytes:
        """Return the next bytes; none at the end.

        Raises:
            ConnectionFailedError: the connection was dropped, or was silent for too long.
        """
        try:
            return next(self._chunks, b"")
        except httpx2.RequestError as error:
            raise connection_error(error) from error

    def close(self) -> None:
        """Close the connection, unless the body was read to its end."""
        with contextlib.suppress(httpx2.RequestError):
            self._response.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()
