"""FastAPI dependencies of the routes, as `Annotated` aliases."""

from collections.abc import Awaitable, Callable
from typing import Annotated

from fastapi import Depends, Request, Security
from fastapi.routing import APIRoute
from fastapi.security import APIKeyHeader, HTTPBearer

from service.api.concurrency_limiter import ConcurrencyLimiter
from service.api.export_queue import ExportQueue
from service.api.jobs.job_events import JobStreams
from service.api.jobs.job_submitter import JobSubmitter
from service.api.stream_registry import StreamRegistry
from service.api.uploads.upload_receiver import UploadReceiver
from service.auth.caller import Caller, Scope
from service.errors import ScopeError
from service.lifecycle import Service
from service.schemas.option_reading import no_such_option, repeated_option
from service.soundfont_file import SoundfontFile


def refuse_unknown_query(request: Request) -> None:
    """Refuse a query parameter that the route does not have, or that is given twice.

    A misspelled one that was silently ignored would give a wrong answer.

    Raises:
        OptionError: there is one.
    """
    route: APIRoute = request.scope["route"]
    known = [parameter.alias for parameter in route.dependant.query_params]
    given = [name for name, _ in request.query_params.multi_items()]
    for name in given:
        if name not in known:
            raise no_such_option(name, known)
        if given.count(name) > 1:
            raise repeated_option(name, given.count(name))


def _service(request: Request) -> Service:
    return request.app.state.service


def _uploads(request: Request) -> UploadReceiver:
    return request.app.state.uploads


def _concurrency_limiter(request: Request) -> ConcurrencyLimiter:
    return request.app.state.concurrency_limiter


def _exports(request: Request) -> ExportQueue:
    return request.app.state.exports


def _submission(request: Request) -> JobSubmitter:
    return request.app.state.submission


def _job_streams(request: Request) -> JobStreams:
    return request.app.state.job_streams


def _streams(request: Request) -> StreamRegistry:
    return request.app.state.streams


def _soundfont(request: Request) -> SoundfontFile:
    return request.app.state.soundfont


ServiceDependency = Annotated[Service, Depends(_service)]
"""The server's objects."""
UploadReceiverDependency = Annotated[UploadReceiver, Depends(_uploads)]
"""The receiver of recordings."""
ConcurrencyLimiterDependency = Annotated[ConcurrencyLimiter, Depends(_concurrency_limiter)]
"""The limiter of each caller's concurrent requests."""
ExportQueueDependency = Annotated[ExportQueue, Depends(_exports)]
"""The queue of exports."""
JobSubmitterDependency = Annotated[JobSubmitter, Depends(_submission)]
"""The intake of jobs."""
JobStreamsDependency = Annotated[JobStreams, Depends(_job_streams)]
"""The event streams of jobs."""
StreamRegistryDependency = Annotated[StreamRegistry, Depends(_streams)]
"""The event streams of transcriptions."""
SoundfontDependency = Annotated[SoundfontFile, Depends(_soundfont)]
"""The soundfont of the page."""

# These only describe the two ways to send a key, for the contract: `authentication.py` has read the
# key and found the caller before a route runs.
_BEARER = HTTPBearer(
    scheme_name="bearer", auto_error=False, description="An API key, if the server requires one."
)
_API_KEY = APIKeyHeader(
    name="X-API-Key", scheme_name="apiKey", auto_error=False, description="The same key."
)


def require_scope(scope: Scope | None) -> Callable[..., Awaitable[Caller]]:
    """Return a dependency that provides the caller.

    Args:
        scope: The scope that the caller's key must have; None accepts any key.

    Returns:
        The dependency; it raises `ScopeError` for a key without the scope.
    """

    async def find_caller(
        request: Request,
        _bearer: Annotated[object, Security(_BEARER)],
        _api_key: Annotated[object, Security(_API_KEY)],
    ) -> Caller:
        caller: Caller = request.state.caller
        if scope is not None and scope not in caller.scopes:
            opened = ", ".join(known.value for known in Scope if known in caller.scopes)
            raise ScopeError(
                f"this request needs a key with the scope {scope.value!r}; the key of"
                f" {caller.name!r} has {opened}"
            )
        return caller

    return find_caller


CallerDependency = Annotated[Caller, Depends(require_scope(Scope.TRANSCRIBE))]
"""A caller with the scope ``transcribe``."""
JobsCallerDependency = Annotated[Caller, Depends(require_scope(Scope.JOBS))]
"""A caller with the scope ``jobs``."""
