"""Normalize the request line before anything else reads it.

Uptime monitors send ``HEAD``, proxies send absolute URLs, and programs that join a base address and
a path send ``//`` and trailing slashes. All of these refer to an existing route. They are rewritten
before any check reads the path, so that the rules for hosts, keys and public paths hold for every
spelling of a path.

    HEAD                     handled as GET; the body is dropped (`request_context.py`)
    http://host/path         the path, with ``Host`` from the URL (RFC 9112, 3.2.2)
    //v1/models/             /v1/models
    OPTIONS *                OPTIONS /
    ?start=&end=3            ?end=3: a parameter without a value is absent
"""

import re
from collections.abc import Mapping
from urllib.parse import unquote

from fastapi import Request, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from service.api.problems import error_response
from service.errors import MalformedTargetError

_ABSOLUTE = re.compile(r"https?://(?P<authority>[^/]*)(?P<path>/.*)?", re.IGNORECASE | re.DOTALL)
_AUTHORITY = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(:\d{1,5})?")
_SLASHES = re.compile(r"/{2,}")


class RequestNormalizationMiddleware:
    """Rewrites method, path, query and ``Host`` of each request in place."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one ASGI connection; anything but HTTP passes through."""
        if scope["type"] == "http":
            try:
                _rewrite(scope)
            except MalformedTargetError as error:
                await error_response(error)(scope, receive, send)
                return
        await self._app(scope, receive, send)


def is_head(request: Request) -> bool:
    """Return whether the request's method was HEAD, so that no body will be sent."""
    return request.scope.get("state", {}).get("is_head", False)


def head_of_stream(media_type: str, headers: Mapping[str, str]) -> Response:
    """Return the response to HEAD for a streamed resource, without generating any of it."""
    response = Response(media_type=media_type, headers=dict(headers))
    del response.headers["Content-Length"]  # the GET response has none
    return response


def sent_path(scope: Scope) -> str:
    """Return the path as the client sent it, for responses that depend on its spelling."""
    return (scope.get("raw_path") or scope["path"].encode()).decode("latin-1")


def _rewrite(scope: Scope) -> None:
    scope.setdefault("state", {})["is_head"] = scope["method"] == "HEAD"
    path = scope["path"]
    if not path.startswith("/"):
        path = _path_of_target(scope)
    path = _SLASHES.sub("/", path)
    scope["path"] = path.rstrip("/") or "/"
    scope["query_string"] = _without_empty(scope["query_string"])
    if scope["method"] == "HEAD":
        scope["method"] = "GET"


def _path_of_target(scope: Scope) -> str:
    """Return the path of a request target that is an absolute URL or ``*``."""
    target = sent_path(scope)
    if target == "*" and scope["method"] == "OPTIONS":
        return "/"
    found = _ABSOLUTE.fullmatch(target)
    if found is None or not _AUTHORITY.fullmatch(found["authority"]):
        raise MalformedTargetError(
            "the request line has neither a path nor an http:// or https:// URL with a host;"
            " expected for example GET /health HTTP/1.1"
        )
    others = [(name, value) for name, value in scope["headers"] if name != b"host"]
    scope["headers"] = [(b"host", found["authority"].encode("ascii")), *others]
    return unquote(found["path"] or "/")


def _without_empty(query: bytes) -> bytes:
    """Return the query without empty parameters such as ``start=``."""
    kept = (part for part in query.split(b"&") if part.find(b"=") != len(part) - 1 or not part)
    return b"&".join(kept)
