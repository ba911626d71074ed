"""Build the ASGI application from the settings.

The model is loaded in the background while the application already answers: `/health` with 200,
`/ready` and every route that needs the model with 503 until it is loaded.
"""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Callable
from typing import Any

from fastapi import FastAPI

from service.api import docs
from service.api.concurrency_limiter import ConcurrencyLimiter
from service.api.draining import DrainingMiddleware
from service.api.export_queue import ExportQueue
from service.api.jobs.job_events import JobStreams
from service.api.jobs.job_openapi import JOB_SCHEMAS, JOB_WEBHOOKS
from service.api.jobs.job_requests import JobLimits
from service.api.jobs.job_submitter import JobSubmitter
from service.api.routes import exports, health, jobs, models, page, soundfont, transcriptions
from service.api.security import add_layers
from service.api.stream_registry import StreamRegistry
from service.api.transcription_openapi import EVENT_SCHEMAS
from service.api.uploads.upload_folder import UploadFolder
from service.api.uploads.upload_receiver import UploadLimits, UploadReceiver
from service.lifecycle import Service
from service.model_loading import Loader, code_version, load_model
from service.schemas.problem_response import ProblemResponse
from service.settings import Settings
from service.soundfont_file import SoundfontFile

NO_TELEMETRY: Any = dict.fromkeys(
    ("tracing", "metrics", "logs", "operation_spans", "auto_configure"), False
)
"""Turns off FastAPI's own telemetry, which would export query strings and messages;
service/observability records only what may be recorded."""


class _Application(FastAPI):
    """Adds to the published contract the schemas that no route signature mentions."""

    def openapi(self) -> dict[str, Any]:
        contract = super().openapi()
        contract["components"]["schemas"][ProblemResponse.__name__] = (
            ProblemResponse.model_json_schema()
        )
        contract["components"]["schemas"] |= EVENT_SCHEMAS | JOB_SCHEMAS
        contract["webhooks"] = JOB_WEBHOOKS
        for operations in contract["paths"].values():
            for operation in operations.values():
                # A server without keys accepts requests without one.
                if "security" in operation and {} not in operation["security"]:
                    operation["security"].append({})
        return contract


def create_app(
    settings: Settings | None = None,
    *,
    load: Loader = load_model,
    on_ready: Callable[[], None] | None = None,
) -> FastAPI:
    """Build the application.

    Args:
        settings: The deployment's settings; by default read from the environment.
        load: Loads the model; tests pass their own.
        on_ready: Called once, when the server is ready.
    """
    settings = settings or Settings()
    upload_folder = UploadFolder(settings.upload_dir)
    service = Service(settings, load, on_ready, upload_folder)
    app = _Application(
        title="mt3-service",
        version=code_version(),
        summary="Multi-instrument music transcription: a recording in, notes out.",
        description=(
            "In the examples `MT3_SERVER` is the address of this server, without a slash at its"
            " end."
        ),
        lifespan=_lifespan,
        redirect_slashes=False,
        docs_url=None,
        redoc_url=None,
        generate_unique_id_function=lambda route: route.name,
        telemetry=NO_TELEMETRY,
    )
    # Event streams are described by `itemSchema`, which OpenAPI has since 3.2.
    app.openapi_version = "3.2.0"
    _build_state(app, settings, service, upload_folder)
    app.add_middleware(DrainingMiddleware, service=service)
    add_layers(
        app,
        keys=service.keys,
        metrics=service.metrics,
        allow_anonymous=settings.allow_anonymous,
        allowed_hosts=settings.allowed_hosts,
        cors_origins=settings.cors_origins,
    )
    for module in (transcriptions, exports, jobs, models, soundfont, health, docs, page):
        app.include_router(module.router)
    return app


def _build_state(
    app: FastAPI, settings: Settings, service: Service, upload_folder: UploadFolder
) -> None:
    """Build the objects that the routes share (`dependencies.py`)."""
    app.state.service = service
    app.state.upload_folder = upload_folder
    app.state.uploads = UploadReceiver(_upload_limits(settings), upload_folder, service.metrics)
    app.state.submission = JobSubmitter(
        service,
        app.state.uploads,
        JobLimits(
            max_items=settings.max_job_items,
            max_upload_bytes=settings.max_job_upload_bytes,
            retention_seconds=settings.job_retention_seconds,
        ),
    )
    app.state.job_streams = JobStreams(
        heartbeat_seconds=settings.stream_heartbeat_seconds,
        max_streams_per_caller=settings.max_event_streams_per_caller,
        metrics=service.metrics,
    )
    app.state.concurrency_limiter = ConcurrencyLimiter()
    app.state.exports = ExportQueue()
    app.state.streams = StreamRegistry(
        resume_seconds=settings.stream_resume_seconds,
        heartbeat_seconds=settings.stream_heartbeat_seconds,
        shutdown_grace_seconds=settings.shutdown_grace_seconds,
        metrics=service.metrics,
    )
    app.state.soundfont = SoundfontFile(settings.soundfont, offline=settings.offline)


def _upload_limits(settings: Settings) -> UploadLimits:
    return UploadLimits(
        max_bytes=settings.max_upload_bytes,
        idle_timeout_seconds=settings.upload_idle_timeout_seconds,
        min_bytes_per_second=settings.upload_min_bytes_per_second,
        total_timeout_seconds=settings.upload_total_timeout_seconds,
        max_concurrent=settings.max_concurrent_uploads,
        max_concurrent_per_caller=settings.max_concurrent_uploads_per_caller
        or max(settings.max_concurrent_uploads // 2, 1),
        scarce_bytes_per_second=settings.upload_scarce_bytes_per_second,
    )


@contextlib.asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncGenerator[None]:
    """Start the service and stop it; streams end when it drains."""
    service: Service = app.state.service
    streams: StreamRegistry = app.state.streams
    await asyncio.to_thread(app.state.upload_folder.sweep)
    await service.start()
    ending = asyncio.create_task(
        _end_streams_when_draining(service, streams, app.state.job_streams)
    )
    try:
        yield
    finally:
        ending.cancel()
        await streams.close()
        await service.stop()


async def _end_streams_when_draining(
    service: Service, streams: StreamRegistry, job_streams: JobStreams
) -> None:
    await service.draining.wait()
    streams.begin_draining()
    job_streams.begin_draining()


def describe_api() -> dict[str, Any]:
    """Return the published contract, which does not depend on the environment's settings."""
    return create_app(Settings.model_construct()).openapi()
