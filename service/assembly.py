"""Build the service's objects from the settings; the only module that names concrete classes.

`service/lifecycle.py` decides when each of them is built, started and stopped.
"""

import asyncio
import dataclasses
import functools
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import platformdirs

from mt3_model.audio.recording import ReadingLimits
from mt3_model.cores import usable_cores
from service.auth.caller import CallerLimits
from service.auth.key_store import KeyStore
from service.engine.engine import Engine
from service.errors import JobError
from service.item_processing import (
    ItemProcessor,
    TemporaryFiles,
    items_in_flight,
    transcribe_when_healthy,
)
from service.model_loading import LoadedModel
from service.observability.metrics import Metrics
from service.recording_opener import RecordingOpener
from service.recordings.processes import RecordingProcesses, suitable_recording_processes
from service.settings import Settings
from service.transcriber import Transcriber

if TYPE_CHECKING:
    # For the type checker only: a server without jobs starts without SQLAlchemy and DBOS.
    from service.jobs.running.job_service import JobService

DATA_FOLDER_MODE = 0o700
"""Mode of a new data folder: it has recordings and the secrets of webhooks, so only this user may
enter it. An existing folder keeps its mode."""
_LEAST_OPEN_RECORDINGS = 32


def build_key_store(settings: Settings, metrics: Metrics) -> KeyStore:
    """Build the store of API keys; keys are read once it starts."""
    keys = settings.api_keys
    return KeyStore(
        settings.api_keys_file,
        None if keys is None else keys.get_secret_value(),
        metrics=metrics,
    )


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Pipeline:
    """The objects that work with a loaded model."""

    engine: Engine
    recordings: RecordingProcesses
    """The processes that work on recordings."""
    transcriber: Transcriber
    """Transcribes the recordings of requests."""
    background: Transcriber
    """Transcribes the recordings of jobs, on the same engine."""
    items_in_flight: int
    """Items of jobs that are processed at once."""

    async def warm_up(self) -> None:
        """Warm up the device, and start the recording processes."""
        await asyncio.gather(self.engine.warm_up(), asyncio.to_thread(self.recordings.start))

    async def close(self) -> None:
        """Release the device, and end the recording processes."""
        await self.engine.close()
        await asyncio.to_thread(self.recordings.close)


def build_pipeline(
    settings: Settings,
    loaded: LoadedModel,
    *,
    on_health: Callable[[bool], None],
    metrics: Metrics,
) -> Pipeline:
    """Build the objects that work with a loaded model; they still have to be warmed up.

    Args:
        settings: the deployment's settings.
        loaded: the model.
        on_health: called when the device becomes unhealthy or healthy again.
        metrics: the server's metrics registry.
    """
    slots = loaded.backend.slots
    engine = Engine(
        loaded.backend,
        loaded.spec,
        max_waiting_audio_seconds=settings.max_waiting_audio_seconds,
        on_health=on_health,
        metrics=metrics,
    )
    count = settings.recording_processes
    recordings = RecordingProcesses(
        suitable_recording_processes(usable_cores(), slots) if count is None else count
    )
    build_opener = functools.partial(
        RecordingOpener,
        engine,
        limits=ReadingLimits(
            max_seconds=settings.max_audio_seconds, max_channels=settings.max_channels
        ),
        open_work=recordings.open_work,
        metrics=metrics,
    )
    max_open = settings.max_open_recordings or suitable_open_recordings(slots)
    in_flight = settings.job_items_in_flight or items_in_flight(slots)
    opener = build_opener(max_open_recordings=max_open)
    background_opener = build_opener(max_open_recordings=in_flight, is_background=True)
    return Pipeline(
        engine=engine,
        recordings=recordings,
        transcriber=Transcriber(engine, opener, loaded.provenance),
        background=Transcriber(engine, background_opener, loaded.provenance),
        items_in_flight=in_flight,
    )


def start_items(
    settings: Settings,
    pipeline: Pipeline,
    jobs: "JobService",
    *,
    limits_of: Callable[[str], CallerLimits],
    files: TemporaryFiles | None,
) -> None:
    """Start processing items of jobs.

    Args:
        settings: the deployment's settings.
        pipeline: transcribes the items.
        jobs: the jobs.
        limits_of: returns the limits of a caller.
        files: folder for the recordings; None: the system's temporary folder.
    """
    from service.jobs.running.job_worker import WorkerOptions  # noqa: PLC0415

    engine = pipeline.engine
    processor = ItemProcessor(
        jobs.objects,
        transcribe_when_healthy(pipeline.background, lambda: engine.is_healthy, limits_of),
        fetchers={"url": jobs.fetchers.url.fetch, "object": jobs.fetchers.object.fetch},
        files=files,
    )
    jobs.work(
        processor.process,
        WorkerOptions(
            concurrency=pipeline.items_in_flight,
            fetches=settings.job_fetches_in_flight,
            fetches_per_tenant=settings.job_fetches_per_caller,
        ),
    )


def suitable_open_recordings(slots: int) -> int:
    """Return how many recordings may be open by default.

    A recording of four segments (8 s) fills four slots, so half as many recordings as slots are
    twice what keeps the device busy; and more than a CPU can use cost little.
    """
    return max(_LEAST_OPEN_RECORDINGS, slots // 2)


def open_jobs(settings: Settings, metrics: Metrics) -> "JobService":
    """Open the jobs' storage and database by the settings. Blocks.

    Raises:
        DatabaseInUseError: Another process has the database.
        JobError: Database or folder cannot be used.
        StorageError: The storage cannot be used.
    """
    import sqlalchemy as sa  # noqa: PLC0415

    from service.jobs.running.job_queue import QueueOptions  # noqa: PLC0415
    from service.jobs.running.job_service import (  # noqa: PLC0415
        open_job_service,
        prepare_fetchers,
    )

    folder = data_folder(settings)
    own_database = sa.URL.create("sqlite", database=str(folder / "jobs.sqlite3"))
    try:
        if settings.database_url is None or settings.storage_url is None:
            folder.mkdir(mode=DATA_FOLDER_MODE, parents=True, exist_ok=True)
        return open_job_service(
            database_url=settings.database_url or own_database.render_as_string(),
            storage_url=settings.storage_url or (folder / "objects").as_uri(),
            options=QueueOptions(retention_seconds=settings.job_retention_seconds),
            fetchers=prepare_fetchers(
                max_bytes=settings.max_upload_bytes,
                min_bytes_per_second=settings.fetch_min_bytes_per_second,
                total_seconds=settings.fetch_total_timeout_seconds,
                allow_private_urls=settings.allow_private_urls,
                allowed_object_urls=settings.allowed_object_urls,
            ),
            webhook_secret=None
            if settings.webhook_secret is None
            else settings.webhook_secret.get_secret_value(),
            allow_private_urls=settings.allow_private_urls,
            adopt_storage=settings.adopt_storage,
            metrics=metrics,
        )
    except OSError as error:
        raise JobError(
            f"the jobs' folder {folder} cannot be used: {error.strerror or error}; name another"
            " with --data-dir or MT3_DATA_DIR, or disable jobs (MT3_JOBS=false)"
        ) from error


def data_folder(settings: Settings) -> Path:
    """Return the folder of jobs whose database and storage are not set."""
    default = platformdirs.user_data_path("mt3-service", appauthor=False)
    return (settings.data_dir or default).absolute()
