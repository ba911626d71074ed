"""Authenticate each request before anything else in it is read.

Every path needs a key unless it is listed here as public, so a new route is closed by default. This
is a middleware and not a dependency, because FastAPI reads the body of a JSON route before its
dependencies run, and an unauthenticated body must cost nothing. Routes require scopes with
`dependencies.py`.
"""

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from service.api.problems import error_response
from service.auth.caller import Caller
from service.auth.key_store import KeyStore
from service.errors import AuthenticationError
from service.observability.logging import add_request_fields

PUBLIC_PATHS = frozenset({"/", "/health", "/ready", "/docs", "/openapi.json"})
"""Health checks, documentation and the page need no key."""
PUBLIC_FOLDERS = ("/docs/", "/assets/")


class AuthenticationMiddleware:
    """Sets the caller of each request, or answers 401."""

    def __init__(self, app: ASGIApp, keys: KeyStore) -> None:
        self._app = app
        self._keys = keys

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one ASGI connection; anything but HTTP passes through."""
        if scope["type"] != "http" or is_public(scope["path"]):
            await self._app(scope, receive, send)
            return
        try:
            caller = self._find_caller(Headers(scope=scope))
        except AuthenticationError as error:
            await error_response(error)(scope, receive, send)
            return
        if self._keys.are_required:
            add_request_fields(caller=caller.name)
        scope.setdefault("state", {})["caller"] = caller
        await self._app(scope, receive, send)

    def _find_caller(self, headers: Headers) -> Caller:
        key = presented_key(headers)
        if self._keys.are_required and not key:
            raise AuthenticationError(_why_no_key(headers))
        return self._keys.authenticate(key)


def is_public(path: str) -> bool:
    """Return whether a path needs no key."""
    return path in PUBLIC_PATHS or path.startswith(PUBLIC_FOLDERS)


def presented_key(headers: Headers) -> str | None:
    """Return the key of a request.

    Other schemes of ``Authorization`` are ignored: a proxy in front may use them.

    Returns:
        The key; None if there is none, or if there are two different ones: a proxy may have checked
        one while the server checks the other.
    """
    presented = _presented_keys(headers)
    return presented.pop() if len(presented) == 1 else None


def _presented_keys(headers: Headers) -> set[str]:
    presented = {value.strip() for value in headers.getlist("x-api-key")}
    for value in headers.getlist("authorization"):
        scheme, _, key = value.strip().partition(" ")
        if scheme.lower() == "bearer":
            presented.add(key.strip())
    return presented


def _why_no_key(headers: Headers) -> str:
    """Explain why no key was read, without repeating what was sent."""
    how = "send one as 'Authorization: Bearer KEY' or as 'X-API-Key: KEY'"
    values = headers.getlist("authorization")
    if any(value.strip().partition(" ")[0].lower() != "bearer" for value in values):
        return f"the Authorization header is not of the form 'Bearer KEY', so it has no key; {how}"
    if len(_presented_keys(headers)) > 1:
        return f"the request has several different keys; {how}, once"
    return f"the request has no API key, and this server requires one; {how}"
