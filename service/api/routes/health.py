"""`/health` (liveness), `/ready` (readiness) and `/metrics`; none of them uses the device."""

from fastapi import APIRouter, Depends, Request, Response

from service.api.dependencies import ServiceDependency, require_scope
from service.api.problems import PROBLEMS, problem_responses
from service.auth.caller import Scope
from service.errors import AuthenticationError, NotReadyError, ScopeError
from service.observability.metrics import OPENMETRICS_TYPE, TEXT_TYPE
from service.schemas.server_response import HealthResponse, ReadyResponse

router = APIRouter(tags=["operations"])
_METRICS_RESPONSE = {
    "description": "All metrics of this server",
    "content": {
        media_type.partition(";")[0]: {"schema": {"type": "string"}}
        for media_type in (TEXT_TYPE, OPENMETRICS_TYPE)
    },
}


@router.get("/health", summary="Check that the server is alive")
async def get_health() -> HealthResponse:
    """Report that the process is alive, whatever the state of the model."""
    return HealthResponse(status="ok")


@router.get(
    "/ready",
    summary="Check that the server can transcribe",
    responses=problem_responses(PROBLEMS[NotReadyError]),
)
async def get_ready(service: ServiceDependency) -> ReadyResponse:
    """Report whether requests can be served; 503 with `state` while they cannot."""
    service.require_ready()
    service.require_jobs()
    model = service.model
    return ReadyResponse(
        state="ready",
        precision=None if model is None else model.precision,
        precision_setting=None if model is None else model.precision_setting,
    )


@router.get(
    "/metrics",
    summary="Get the metrics",
    response_class=Response,
    responses={
        200: _METRICS_RESPONSE,
        **problem_responses(PROBLEMS[AuthenticationError], PROBLEMS[ScopeError]),
    },
    dependencies=[Depends(require_scope(Scope.METRICS))],
)
async def get_metrics(request: Request, service: ServiceDependency) -> Response:
    """Return all metrics in Prometheus's text format, or as OpenMetrics if `Accept` requests it."""
    content, media_type = service.metrics.write(request.headers.get("accept", ""))
    return Response(content, media_type=media_type)
