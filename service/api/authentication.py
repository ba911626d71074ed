"""A request's key -> its caller, before anything else of the request is looked at.

Every path needs a key unless it is named here as public: a route that is added and forgets to ask
is closed, not open. It is done around the routes and not in them, because a framework reads the
body of a JSON route before its dependencies run, and a stranger's body shall cost nothing. Routes
ask for more, a scope, by `dependencies.py`.
"""

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from service.api.problems import error_response
from service.auth.caller import Caller
from service.auth.key_store import KeyStore
from service.errors import AuthenticationError
from service.observability.logging import add_request_fields

PUBLIC_PATHS = frozenset({"/", "/health", "/ready", "/docs", "/openapi.json"})
"""Who may know a server's address may know whether it lives, and how to use it."""
PUBLIC_FOLDERS = ("/docs/",)


class AuthenticationMiddleware:
    """Finds the caller of each request, or answers 401."""

    def __init__(self, app: ASGIApp, keys: KeyStore) -> None:
        self._app = app
        self._keys = keys

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serves one ASGI connection; only HTTP requests are touched."""
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
    """Whether a path needs no key."""
    return path in PUBLIC_PATHS or path.startswith(PUBLIC_FOLDERS)


def presented_key(headers: Headers) -> str | None:
    """Gives the one key that a request presents.

    Other schemes of ``Authorization`` are not ours: a proxy in front may use them.

    Returns:
        The key; absent where there is none, or where there are two that differ, of which a proxy
        may have checked the one and we the other.
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
    """Says what is wrong where no key, or more than one, was read; never repeats what was sent."""
    how = "send one as 'Authorization: Bearer KEY' or as 'X-API-Key: KEY'"
    values = headers.getlist("authorization")
    if any(value.strip().partition(" ")[0].lower() != "bearer" for value in values):
        return (
            f"the Authorization header is not of the form 'Bearer KEY', so it holds no key; {how}"
        )
    if len(_presented_keys(headers)) > 1:
        return f"the request holds several keys that differ; {how}, once"
    return f"the request holds no key, and this server asks for one; {how}"
