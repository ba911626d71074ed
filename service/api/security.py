"""Add the layers between the server and the routes, and the security headers of every response.

From the outside in: security headers, request id and log (`request_context.py`), normalization
(`request_normalization.py`), CORS, origin checks (`origins.py`), authentication
(`authentication.py`), routes. Errors of all layers become problem documents (`problems.py`).

There is no ``Strict-Transport-Security``: TLS ends in front of this server, browsers ignore the
header over plain HTTP (RFC 6797, 7.2), and only the owner of the certificate can decide to pin the
whole host to HTTPS.
"""

import asyncio
import contextlib
import re

from fastapi import FastAPI
from starlette.datastructures import Headers, MutableHeaders
from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from mt3_model.errors import OptionError
from service.api.authentication import AuthenticationMiddleware
from service.api.origins import ANY, OriginCheckMiddleware
from service.api.problems import add_problem_handlers
from service.api.request_context import RequestContextMiddleware
from service.api.request_normalization import RequestNormalizationMiddleware
from service.auth.key_store import KeyStore
from service.observability.metrics import Metrics

HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}
"""Default headers of every response; a route may set its own, as `docs.py` does. Source: OWASP's
REST and HTTP header cheat sheets, for an API that serves no page."""
_PRIVATE_PATHS = ("/v1/", "/metrics")
_DRAINED_BYTES = 2**16
"""A refused body up to this size is read to its end, so that the connection can be reused."""
_LINGERING_BYTES = 2**24
_LINGERING_SECONDS = 5.0
"""Maximum size and time for which a refused body is drained after the response. Closing the
connection of a sending client resets it, and the client loses the response; most songs are smaller
than 16 MiB. Source of the seconds: nginx's ``lingering_timeout``."""
_ORIGIN = re.compile(r"https?://[a-z0-9.\[\]:_-]+")
_HOST_NAME = re.compile(r"[a-z0-9._-]+|\[[0-9a-f:.]+\]")
_CORS_METHODS = ("GET", "HEAD", "POST", "DELETE")
_CORS_REQUEST_HEADERS = (
    "Authorization", "Content-Type", "Idempotency-Key", "Last-Event-ID", "Prefer", "X-API-Key",
    "X-Request-ID",
)  # fmt: skip
_CORS_RESPONSE_HEADERS = (
    "Accept-Encoding", "Allow", "Content-Disposition", "Location", "Preference-Applied",
    "Retry-After", "Server-Timing", "Transcription-Warning-Details", "Transcription-Warnings",
    "WWW-Authenticate", "X-Request-ID",
)  # fmt: skip
"""All headers that this API's responses are documented to have, in addition to those that every
page may read (https://fetch.spec.whatwg.org/#cors-safelisted-response-header-name)."""
_CORS_PREFLIGHT_SECONDS = 600


def add_layers(
    app: FastAPI,
    *,
    keys: KeyStore,
    metrics: Metrics,
    allow_anonymous: bool,
    allowed_hosts: str,
    cors_origins: str,
) -> None:
    """Add the layers that every request passes before it reaches the routes.

    Args:
        app: The application.
        keys: The server's key store.
        metrics: The server's metrics.
        allow_anonymous: Whether a server without keys serves other machines.
        allowed_hosts: Host names, separated by commas.
        cors_origins: Origins, separated by commas.

    Raises:
        OptionError: An origin or a host name is malformed, or ``*`` would open a server without
            keys to every page.
    """
    origins = parse_origins(cors_origins)
    if ANY in origins and not (keys.are_required or allow_anonymous):
        raise OptionError(
            "cors_origins",
            "MT3_CORS_ORIGINS is '*' and there are no API keys: every web page could use this"
            " server; name the origins, or require keys",
        )
    app.add_middleware(AuthenticationMiddleware, keys=keys)
    app.add_middleware(
        OriginCheckMiddleware,
        keys_are_required=keys.are_required,
        allow_anonymous=allow_anonymous,
        allowed_hosts=parse_hosts(allowed_hosts),
        cors_origins=origins,
    )
    if origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=sorted(origins),
            allow_methods=_CORS_METHODS,
            allow_headers=_CORS_REQUEST_HEADERS,
            expose_headers=_CORS_RESPONSE_HEADERS,
            allow_credentials=False,  # the API uses no cookies
            max_age=_CORS_PREFLIGHT_SECONDS,
        )
    # Added after the checks, so it runs before them: they see the normalized path.
    app.add_middleware(RequestNormalizationMiddleware)
    app.add_middleware(RequestContextMiddleware, metrics=metrics)
    app.add_middleware(SecurityHeadersMiddleware)
    add_problem_handlers(app)


def parse_hosts(text: str) -> frozenset[str]:
    """Parse `MT3_ALLOWED_HOSTS`.

    Raises:
        OptionError: An item is not a host name; a URL, a port or a pattern would never match.
    """
    hosts = frozenset(name.lower().rstrip(".") for name in _split(text))
    for host in hosts - {ANY}:
        if not _HOST_NAME.fullmatch(host):
            raise OptionError(
                "allowed_hosts",
                f"{host!r} in MT3_ALLOWED_HOSTS is not a host name; expected names such as"
                " mt3.example.org, without scheme or port, or '*'",
            )
    return hosts


def parse_origins(text: str) -> frozenset[str]:
    """Parse `MT3_CORS_ORIGINS`.

    Raises:
        OptionError: An item is not an origin; a path or a pattern would never match.
    """
    origins = frozenset(_split(text))
    for origin in origins - {ANY}:
        if not _ORIGIN.fullmatch(origin):
            raise OptionError(
                "cors_origins",
                f"MT3_CORS_ORIGINS has {origin!r}; expected origins like https://app.example, in"
                " lower case and without a path",
            )
    return origins


class SecurityHeadersMiddleware:
    """Sets the headers of every response, and closes connections whose body is not read."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one ASGI connection; anything but HTTP passes through."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        body_is_whole = not _announces_long_body(headers)
        # A client that waits for "100 Continue" sends no body after a refusal.
        is_sending = "expect" not in headers
        closes = False

        async def receive_and_track() -> Message:
            nonlocal body_is_whole, is_sending
            is_sending = True
            message = await receive()
            if message["type"] == "http.request" and not message.get("more_body", False):
                body_is_whole = True
            return message

        async def send_with_headers(message: Message) -> None:
            nonlocal closes
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
                if scope["path"].startswith(_PRIVATE_PATHS):
                    headers.setdefault("Cache-Control", "no-store")
                if not body_is_whole:
                    # Otherwise the server would receive and drop all of a refused body.
                    headers["Connection"] = "close"
                    closes = is_sending
            elif closes and not message.get("more_body", False):
                await send({**message, "more_body": True})
                await _drain(receive)
                message = {"type": "http.response.body"}
            await send(message)

        await self._app(scope, receive_and_track, send_with_headers)


async def _drain(receive: Receive) -> None:
    """Receive and drop what the client still sends, within limits."""
    received = 0
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(_LINGERING_SECONDS):
            while received < _LINGERING_BYTES:
                message = await receive()
                if message["type"] != "http.request" or not message.get("more_body", False):
                    return
                received += len(message.get("body", b""))


def _announces_long_body(headers: Headers) -> bool:
    if "transfer-encoding" in headers:
        return True
    length = headers.get("content-length", "0")
    return (
        not length.isdecimal()
        or len(length) > len(str(_DRAINED_BYTES))
        or (int(length) > _DRAINED_BYTES)
    )


def _split(text: str) -> list[str]:
    return [item for item in (part.strip() for part in text.split(",")) if item]
