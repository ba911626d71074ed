"""`/health`: the process is alive. `/ready`: it can serve. Neither touches the device."""

from fastapi import APIRouter

from service.api.dependencies import ServiceDependency
from service.api.problems import PROBLEMS, problem_responses
from service.api.schemas import HealthShape, ReadyShape
from service.errors import NotReadyError

router = APIRouter(tags=["operations"])


@router.get("/health")
async def get_health() -> HealthShape:
    """Says that the process is alive, whatever the model does."""
    return HealthShape(status="ok")


@router.get("/ready", responses=problem_responses(PROBLEMS[NotReadyError]))
async def get_ready(service: ServiceDependency) -> ReadyShape:
    """Says whether requests can be served; 503 with `state` while they cannot."""
    service.require_ready()
    return ReadyShape(state="ready")
