"""`create_app`: settings -> the ASGI application.

The model is loaded in the background while the application already answers: `/health` at once,
`/ready` and everything that needs the model with 503 until it is there.
"""

import contextlib
from collections.abc import AsyncGenerator, Callable
from typing import Any

from fastapi import FastAPI

from service.api.middleware import RequestContextMiddleware
from service.api.problems import add_problem_handlers
from service.api.routes import health, models, transcriptions
from service.api.schemas import ProblemShape
from service.api.uploads import UploadLimits
from service.assembly import Loader, Service, code_version, load_model
from service.settings import Settings


class _Application(FastAPI):
    """Adds to the published contract the one shape that no signature mentions."""

    def openapi(self) -> dict[str, Any]:
        contract = super().openapi()
        contract["components"]["schemas"][ProblemShape.__name__] = ProblemShape.model_json_schema()
        return contract


def create_app(
    settings: Settings | None = None,
    *,
    load: Loader = load_model,
    on_ready: Callable[[], None] | None = None,
) -> FastAPI:
    """Builds the application.

    Args:
        settings: Of the deployment; absent: read from the environment.
        load: Makes the model; tests hand in their own.
        on_ready: Called once, when requests can be served.
    """
    settings = settings or Settings()
    service = Service(settings, load, on_ready)

    @contextlib.asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncGenerator[None]:
        del app
        await service.start()
        yield
        await service.stop()

    app = _Application(
        title="mt3-service",
        version=code_version(),
        summary="Multi-instrument music transcription: a recording in, notes out.",
        lifespan=lifespan,
        redirect_slashes=False,
        generate_unique_id_function=lambda route: route.name,
    )
    app.state.service = service
    app.state.upload_limits = UploadLimits(
        max_bytes=settings.max_upload_bytes,
        idle_timeout_seconds=settings.upload_idle_timeout_seconds,
        folder=settings.upload_dir,
    )
    app.add_middleware(RequestContextMiddleware)
    add_problem_handlers(app)
    app.include_router(transcriptions.router)
    app.include_router(models.router)
    app.include_router(health.router)
    return app


def describe_api() -> dict[str, Any]:
    """Gives the published contract, which does not depend on the environment's settings."""
    return create_app(Settings.model_construct()).openapi()
