"""What both clients' connections have in common: address, key, timeouts, and what failures mean."""

import os
import random
import secrets
import time
from typing import Any

import httpx

from service.client.retries import RetryPolicy
from service.client.steps import Lost, Reply, Send

DEFAULT_BASE_URL = "http://localhost:8000"
API_KEY_VARIABLE = "MT3_API_KEY"
"""Of the environment; read where no key is given."""
DEFAULT_TIMEOUT_SECONDS = 1_800.0
"""Of a whole call: the two hours that a server takes by default need 8 minutes on two CPU cores,
and may have to wait behind as much."""
DEFAULT_MAX_RETRIES = 5
_CONNECT_SECONDS = 10.0
_WRITE_SECONDS = 60.0
"""The server gives up an upload that stands still for as long."""
_PASSING = (
    httpx.TimeoutException, httpx.NetworkError, httpx.ProxyError, httpx.RemoteProtocolError,
)  # fmt: skip
"""Failures that another attempt may not meet."""
_BROKEN_OFF = (httpx.ReadError, httpx.WriteError, httpx.CloseError, httpx.RemoteProtocolError)


def make_policy(timeout: float | None, max_retries: int) -> RetryPolicy:
    """Makes the policy of real time and chance.

    Raises:
        ValueError: A number is out of range.
    """
    if timeout is not None and timeout <= 0:
        raise ValueError(f"timeout is {timeout:g} s; expected more than 0, or None for ever")
    if max_retries < 0:
        raise ValueError(f"max_retries is {max_retries}; expected 0 or more")
    return RetryPolicy(
        max_retries=max_retries, budget_seconds=timeout, random=random.random,
        clock=time.monotonic, today=time.time,
    )  # fmt: skip


def new_idempotency_key() -> str:
    """Makes a name for one request, which nobody can guess."""
    return secrets.token_hex(16)


def client_arguments(base_url: str, api_key: str | None) -> dict[str, Any]:
    """Gives the arguments of httpx's clients.

    Redirects are not followed: a key belongs to the server that it was given for.

    Raises:
        ValueError: The address or the key cannot be one.
    """
    url = httpx.URL(base_url)
    if url.scheme not in ("http", "https") or not url.host:
        raise ValueError(f"base_url is {base_url!r}; expected http:// or https:// and a host")
    key = os.environ.get(API_KEY_VARIABLE, "") if api_key is None else api_key
    if not (key.isascii() and key.isprintable()) or " " in key:
        raise ValueError("the API key holds a character that no key has (a line's end?)")
    headers = {"user-agent": "mt3-client", **({"authorization": f"Bearer {key}"} if key else {})}
    return {"base_url": url, "headers": headers, "follow_redirects": False, "timeout": None}


def request_arguments(step: Send) -> dict[str, Any]:
    """Gives the arguments of httpx's ``build_request``, but for the body."""
    headers = dict(step.headers)
    if step.upload is not None:
        headers["content-type"] = step.upload.media_type
        if step.upload.length is not None:
            headers["content-length"] = str(step.upload.length)
    return {
        "method": step.method,
        # Relative to the address, which may have a path of its own.
        "url": step.path.removeprefix("/"),
        "params": step.query or None,
        "headers": headers,
        "timeout": httpx.Timeout(
            connect=_CONNECT_SECONDS, read=step.read_timeout, write=_WRITE_SECONDS, pool=None
        ),
    }


def reply_of(response: httpx.Response) -> Reply:
    """Takes over an answer: whole, or its head where its body is held open."""
    body = response.content if response.is_closed else b""
    return Reply(status=response.status_code, headers=response.headers, body=body)


def lost_by(error: httpx.RequestError) -> Lost:
    """Says what a failure of httpx means."""
    # Some of its messages are empty.
    said = str(error) or type(error).__name__
    reason = f"no answer from {error.request.url.netloc.decode()}: {said}"
    return Lost(
        reason=reason,
        may_try_again=isinstance(error, _PASSING),
        broke_off=isinstance(error, _BROKEN_OFF),
    )
