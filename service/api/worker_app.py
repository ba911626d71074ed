"""Build the small application of a process that only runs jobs.

It serves `/health`, `/ready` and `/metrics` and accepts no recordings, so it can run where callers
cannot reach it. The work is done by the same `Service`.
"""

import asyncio
import contextlib
from collections.abc import AsyncGenerator

from fastapi import FastAPI

from service.api.app import NO_TELEMETRY
from service.api.routes import health
from service.api.security import add_layers
from service.api.uploads.upload_folder import UploadFolder
from service.lifecycle import Service
from service.model_loading import code_version


def create_worker_app(
    service: Service, folder: UploadFolder, *, allow_anonymous: bool, allowed_hosts: str
) -> FastAPI:
    """Build the application.

    Args:
        service: The service that works on the jobs.
        folder: The folder of the recordings it is working on.
        allow_anonymous: Whether a worker without keys answers other machines.
        allowed_hosts: Host names of the worker, separated by commas.
    """

    @contextlib.asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncGenerator[None]:
        del app
        await asyncio.to_thread(folder.sweep)
        await service.start()
        yield
        await service.stop()

    app = FastAPI(
        title="mt3-service worker",
        version=code_version(),
        lifespan=lifespan,
        redirect_slashes=False,
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
        telemetry=NO_TELEMETRY,
    )
    app.state.service = service
    add_layers(
        app,
        keys=service.keys,
        metrics=service.metrics,
        allow_anonymous=allow_anonymous,
        allowed_hosts=allowed_hosts,
        cors_origins="",
    )
    app.include_router(health.router)
    return app
