"""Check where a request comes from, on a server without API keys.

A musician's own server has no keys, and the musician's browser can reach it. So can every web page
in that browser: with a form that posts to ``localhost`` (which needs no permission), or through a
host name of its own that resolves to 127.0.0.1 once the page is loaded (DNS rebinding), which even
lets the page read responses. Two checks stop both without affecting curl or this server's own
pages: the Host must be a name that public DNS cannot hold, and a request that changes something
must come from this server's own pages or from an origin that the deployment allows.

With keys, neither check is needed: a foreign page has no key, and a browser never adds one itself.

A server without keys also serves only its own machine, unless ``MT3_ALLOW_ANONYMOUS`` is set.
`mt3 serve` refuses to start otherwise; this module enforces the same under any other ASGI server,
whose address is known only from its connections.
"""

import ipaddress
import re
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from service.api.problems import error_response
from service.auth.loopback import is_loopback
from service.errors import (
    HeadTooLargeError,
    HostNotAllowedError,
    KeysNotConfiguredError,
    OriginNotAllowedError,
    ServiceError,
)

MAX_HEAD_BYTES = 2**15
"""Limit of path, query and headers. Browsers send a few kilobytes; nginx accepts 32 KiB."""
MAX_HEADERS = 100
ANY = "*"
_SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS", "TRACE"})
_PROBES = frozenset({"/health", "/ready"})
_RESERVED_SUFFIXES = (".localhost", ".local", ".internal")
"""Top-level domains that are never in the public DNS. Source: RFC 6761, 6.3; RFC 6762, 3; ICANN
resolution 2024.07.29.06."""
_HOST = re.compile(r"(?P<name>\[[0-9a-f:.]+\]|[a-z0-9._-]+)(:(?P<port>\d{1,5}))?")
_DEFAULT_PORTS = {"http": 80, "https": 443}


class OriginCheckMiddleware:
    """Refuses requests by head size, server address, Host and Origin."""

    def __init__(
        self,
        app: ASGIApp,
        *,
        keys_are_required: bool,
        allow_anonymous: bool,
        allowed_hosts: frozenset[str],
        cors_origins: frozenset[str],
    ) -> None:
        self._app = app
        self._keys_are_required = keys_are_required
        self._allow_anonymous = allow_anonymous
        self._allowed_hosts = allowed_hosts
        self._cors_origins = cors_origins

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one ASGI connection; anything but HTTP passes through."""
        if scope["type"] == "http":
            try:
                self._check(scope)
            except ServiceError as error:
                await error_response(error)(scope, receive, send)
                return
        await self._app(scope, receive, send)

    def _check(self, scope: Scope) -> None:
        _check_head(scope)
        if self._keys_are_required:
            return
        if not self._allow_anonymous and scope["path"] not in _PROBES:
            _check_address(scope)
        headers = Headers(scope=scope)
        self._check_host(headers)
        if scope["method"] not in _SAFE_METHODS:
            self._check_origin(headers)

    def _check_host(self, headers: Headers) -> None:
        host = headers.get("host")
        if host is None or ANY in self._allowed_hosts:  # HTTP/1.0, so not a browser
            return
        found = _HOST.fullmatch(host.lower())
        name = "" if found is None else found["name"].rstrip(".")
        if not (is_outside_public_dns(name) or name in self._allowed_hosts):
            raise HostNotAllowedError(
                "the Host header is not a name of this server; expected an address, 'localhost', a"
                " local name or one in MT3_ALLOWED_HOSTS"
            )

    def _check_origin(self, headers: Headers) -> None:
        origin = headers.get("origin")
        if origin is None:
            # Browsers send one of the two headers; a request with neither is not from a page.
            refused = headers.get("sec-fetch-site") in ("cross-site", "same-site")
        else:
            own = origin_host(origin) == _with_port(headers.get("host", ""), origin)
            allowed = ANY in self._cors_origins or origin in self._cors_origins
            refused = not (own or allowed)
        if refused:
            raise OriginNotAllowedError(
                "the request comes from a web page of another site; MT3_CORS_ORIGINS lists the"
                " sites whose pages may use this server"
            )


def is_outside_public_dns(name: str) -> bool:
    """Return whether a host name cannot be pointed to this machine by public DNS.

    Args:
        name: Host name of a Host header, in lower case, without port.
    """
    if is_address(name.strip("[]")):
        return True
    # Names without a dot come from a hosts file, a container network or a home router.
    return bool(name) and ("." not in name or name.endswith(_RESERVED_SUFFIXES))


def is_address(text: str) -> bool:
    """Return whether a text is an IP address."""
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def origin_host(origin: str) -> str | None:
    """Return an origin's host and port; None for ``null`` and other invalid origins."""
    try:
        parts = urlsplit(origin)
        port = parts.port or _DEFAULT_PORTS.get(parts.scheme)
    except ValueError:
        return None
    return None if not parts.hostname or port is None else f"{parts.hostname}:{port}"


def _with_port(host: str, origin: str) -> str:
    """Return a Host header with its port, by default the port of the origin's scheme."""
    found = _HOST.fullmatch(host.lower())
    if found is None:
        return host
    port = found["port"] or _DEFAULT_PORTS.get(origin.partition(":")[0], 0)
    return f"{found['name'].strip('[]')}:{port}"


def _check_head(scope: Scope) -> None:
    headers: list[tuple[bytes, bytes]] = scope["headers"]
    size = len(scope.get("raw_path") or b"") + len(scope["query_string"])
    size += sum(len(name) + len(value) for name, value in headers)
    if size > MAX_HEAD_BYTES or len(headers) > MAX_HEADERS:
        raise HeadTooLargeError(
            f"the request has {len(headers)} headers, {size:,} bytes with its path; expected at"
            f" most {MAX_HEADERS} and {MAX_HEAD_BYTES:,}"
        )


def _check_address(scope: Scope) -> None:
    server: tuple[str, int | None] | None = scope.get("server")
    # No address: a Unix socket, or an in-process transport.
    if server is None or not is_address(server[0].partition("%")[0]):
        return
    if not is_loopback(server[0]):
        raise KeysNotConfiguredError(
            "this server has no API keys and serves its own machine only; its operator can set"
            " MT3_API_KEYS_FILE or MT3_API_KEYS, or MT3_ALLOW_ANONYMOUS=true"
        )
