"""The clients' settings as arguments of httpx2."""

import os
from typing import Any

import httpx2

from service.client._errors import ConnectionFailedError
from service.client._requests import Request

DEFAULT_BASE_URL = "http://localhost:8000"
API_KEY_VARIABLE = "MT3_API_KEY"
"""Environment variable with the API key, for a client that is given none."""
DEFAULT_TIMEOUT_SECONDS = 1_800.0
"""Time for a whole call: two hours of audio, the server's default limit, need 8 minutes on two CPU
cores, and may have to wait in the queue behind as much."""
DEFAULT_MAX_RETRIES = 5
_CONNECT_SECONDS = 10.0
_WRITE_SECONDS = 60.0
"""Silence after which an upload fails; the server's own limit."""
_TRANSIENT_ERRORS = (
    httpx2.TimeoutException, httpx2.NetworkError, httpx2.ProxyError, httpx2.RemoteProtocolError,
)  # fmt: skip
_DROPPED_ERRORS = (
    httpx2.ReadError,
    httpx2.WriteError,
    httpx2.CloseError,
    httpx2.RemoteProtocolError,
)


def http_client_arguments(base_url: str, api_key: str | None) -> dict[str, Any]:
    """Return the arguments of httpx2's client.

    Redirects are not followed, so that the API key is sent to its own server only.

    Raises:
        ValueError: the address or the key is invalid.
    """
    url = httpx2.URL(base_url)
    if url.scheme not in ("http", "https") or not url.host:
        raise ValueError(f"base_url is {base_url!r}; expected http:// or https:// and a host")
    key = os.environ.get(API_KEY_VARIABLE, "") if api_key is None else api_key
    if not (key.isascii() and key.isprintable()) or " " in key:
        raise ValueError("the API key contains a character that no key has (a line break?)")
    headers = {"user-agent": "mt3-client", **({"authorization": f"Bearer {key}"} if key else {})}
    return {"base_url": url, "headers": headers, "follow_redirects": False, "timeout": None}


def request_arguments(request: Request, read_timeout_seconds: float | None) -> dict[str, Any]:
    """Return the arguments of httpx2's ``build_request``, except the content."""
    headers = dict(request.headers)
    if request.body is not None:
        headers["content-type"] = request.body.media_type
        if (length := request.body.length) is not None:
            headers["content-length"] = str(length)
    return {
        "method": request.method,
        # Relative to the base URL, which may have a path.
        "url": request.path.removeprefix("/"),
        "params": request.query or None,
        "headers": headers,
        "timeout": httpx2.Timeout(
            connect=_CONNECT_SECONDS, read=read_timeout_seconds, write=_WRITE_SECONDS, pool=None
        ),
    }


def connection_error(error: httpx2.RequestError) -> ConnectionFailedError:
    """Return the client's exception for one of httpx2."""
    # Some of httpx2's messages are empty.
    reason = str(error) or type(error).__name__
    return ConnectionFailedError(
        f"no answer from {error.request.url.netloc.decode()}: {reason}",
        is_transient=isinstance(error, _TRANSIENT_ERRORS),
        was_dropped=isinstance(error, _DROPPED_ERRORS),
    )
