"""Builds the service's objects from the settings, and keeps the state that readiness reports.

The only module that names concrete classes. The model is loaded while the server already answers:

    loading   the checkpoint is found, downloaded if needed, and read
    warming   the device compiles what the first request would otherwise wait for
    ready     requests are served
    draining  the process is about to end; running requests finish
    failed    the device keeps failing; once it works again, the service is ready again. Also if the
              model cannot be loaded: `mt3 serve` and `mt3 worker` then end
"""

import asyncio
import contextlib
import enum
import functools
import logging
import math
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import platformdirs

from mt3_model.audio.recording import ReadingLimits
from mt3_model.cpu.cores import usable_cores
from mt3_model.errors import MT3Error, OptionError
from mt3_model.notes.transcription import ModelProvenance
from service.auth.key_store import KeyStore
from service.engine.engine import Engine
from service.errors import JobError, JobsDisabledError, NotReadyError
from service.item_processing import (
    ItemProcessor,
    TemporaryFiles,
    items_in_flight,
    transcribe_when_healthy,
)
from service.jobs.running.job_queue import QueueOptions
from service.jobs.running.job_service import JobService, open_job_service, prepare_fetchers
from service.jobs.running.job_worker import WorkerOptions
from service.model_loading import LoadedModel, Loader, code_version, find_spec, load_model
from service.observability.logging import log_event
from service.observability.metrics import Metrics
from service.observability.tracing import start_tracing, stop_tracing
from service.recordings.processes import RecordingProcesses
from service.settings import Settings
from service.transcriber import Transcriber

_LOADING_RETRY_SECONDS = 5
_GONE_RETRY_SECONDS = 30
_LEAST_OPEN_RECORDINGS = 32
_FEWEST_CORES_TO_SHARE = 4
_SLOTS_PER_PROCESS = 32
_logger = logging.getLogger(__name__)
T = TypeVar("T")


class ServiceState(enum.Enum):
    """The states described in the module's docstring."""

    LOADING = "loading"
    WARMING = "warming"
    READY = "ready"
    DRAINING = "draining"
    FAILED = "failed"


class Service:
    """The server's objects, from loading to draining."""

    def __init__(
        self,
        settings: Settings,
        load: Loader = load_model,
        on_ready: Callable[[], None] | None = None,
        files: TemporaryFiles | None = None,
    ) -> None:
        """Prepare; `open_jobs` and `start` begin.

        Args:
            settings: the deployment's settings.
            load: loads the model.
            on_ready: called once, when requests can be served.
            files: folder for the recordings of jobs while they are transcribed; None: the system's
                temporary folder.

        Raises:
            OptionError: The settings contradict each other.
        """
        if not (settings.jobs or settings.worker):
            raise OptionError("worker", "MT3_WORKER=false needs jobs, and MT3_JOBS is false")
        self.spec = find_spec(settings)
        self.state = ServiceState.LOADING
        self.metrics = Metrics()
        self.keys = KeyStore(
            settings.api_keys_file,
            None if settings.api_keys is None else settings.api_keys.get_secret_value(),
            metrics=self.metrics,
        )
        self.model: ModelProvenance | None = None
        if settings.tracing:
            start_tracing(version=code_version(), ratio=settings.tracing_ratio)
        self._settings = settings
        self._load = load
        self._on_ready = on_ready
        self._engine: Engine | None = None
        self._transcriber: Transcriber | None = None
        self._loading: asyncio.Task[None] | None = None
        self._jobs: JobService | None = None
        self._recordings = RecordingProcesses()
        self._files = files
        self.failure: Exception | None = None
        """The reason why there is no model and will be none in this process."""
        self.draining = asyncio.Event()
        """Set, on the event loop, when the process begins to drain."""
        self._event_loop: asyncio.AbstractEventLoop | None = None

    @property
    def has_model(self) -> bool:
        """Whether this process transcribes; otherwise every recording becomes a job."""
        return self._settings.worker

    @property
    def is_draining(self) -> bool:
        """Whether the process is about to end."""
        return self.state is ServiceState.DRAINING

    def refuse_while_draining(self) -> None:
        """Refuse a request that may outlive the process.

        Raises:
            NotReadyError: The process is about to end.
        """
        if self.is_draining:
            raise draining_error()

    @property
    def has_items_running(self) -> bool:
        """Whether this process is working on recordings of jobs."""
        return self._jobs is not None and self._jobs.has_items_running

    @property
    def max_sync_audio_seconds(self) -> float:
        """Longest recording transcribed in one request; infinite without jobs or a limit."""
        limit = self._settings.max_sync_audio_seconds if self._settings.jobs else None
        return math.inf if limit is None else limit

    @property
    def jobs(self) -> JobService:
        """The jobs.

        Raises:
            JobsDisabledError: The deployment keeps none.
        """
        if self._jobs is None:
            raise JobsDisabledError(
                "this server keeps no jobs (MT3_JOBS=false); send recordings to /v1/transcriptions"
            )
        return self._jobs

    @property
    def transcriber(self) -> Transcriber:
        """The transcriber of requests.

        Raises:
            NotReadyError: There is none now; ``state`` says why.
        """
        self.require_ready()
        assert self._transcriber is not None
        return self._transcriber

    def require_ready(self) -> None:
        """Refuse unless requests can be served.

        Raises:
            NotReadyError: With the state.
        """
        match self.state:
            case ServiceState.READY:
                return
            case ServiceState.LOADING:
                message, retry_after = "the model is being loaded", _LOADING_RETRY_SECONDS
            case ServiceState.WARMING:
                message, retry_after = "the model is being warmed up", _LOADING_RETRY_SECONDS
            case ServiceState.DRAINING:
                raise draining_error()
            case ServiceState.FAILED:
                if self._engine is not None and not self._engine.is_healthy:
                    message = "the device keeps failing; it is tried again every few seconds"
                    retry_after = _LOADING_RETRY_SECONDS
                else:
                    message = "the model could not be loaded; the server's log says why"
                    retry_after = _GONE_RETRY_SECONDS
        raise NotReadyError(
            f"{self.state.value}: {message}",
            state=self.state.value,
            retry_after_seconds=retry_after,
        )

    def require_jobs(self) -> None:
        """Refuse while the jobs' database is damaged, or its storage is the wrong one.

        Raises:
            NotReadyError: With the reason.
        """
        fault = None if self._jobs is None else self._jobs.fault
        if fault is not None:
            raise NotReadyError(
                f"jobs cannot be kept: {fault}",
                state=ServiceState.FAILED.value,
                retry_after_seconds=_GONE_RETRY_SECONDS,
            )

    def open_jobs(self) -> None:
        """Open the jobs' storage and database, if enabled and not open. Blocks.

        Raises:
            DatabaseInUseError: Another process has the database.
            JobError: Database or folder cannot be used.
            StorageError: The storage cannot be used.
        """
        if self._settings.jobs and self._jobs is None:
            self._jobs = open_jobs(self._settings, self.metrics)

    async def start(self) -> None:
        """Start loading; return at once."""
        self._event_loop = asyncio.get_running_loop()
        await asyncio.to_thread(self.open_jobs)
        if self._jobs is not None:
            self._jobs.start()
        await self.keys.start()
        if not self.has_model:
            self._enter(ServiceState.READY)
            if self._on_ready is not None:
                self._on_ready()
            return
        self._loading = asyncio.create_task(self._load_and_warm())

    def begin_draining(self) -> None:
        """Stop accepting requests; those in progress continue."""
        self.state = ServiceState.DRAINING
        self.metrics.set_state(self.state.value)
        if self._jobs is not None:
            self._jobs.begin_draining()
        if self._event_loop is not None:
            # A signal handler may run in the middle of anything, and after the loop's end.
            with contextlib.suppress(RuntimeError):
                self._event_loop.call_soon_threadsafe(self.draining.set)

    async def stop(self) -> None:
        """Stop everything, and release the device."""
        self.begin_draining()
        await self.keys.stop()
        if self._loading is not None:
            self._loading.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._loading
        if self._jobs is not None:
            # Before the engine ends, which would fail what could have been finished.
            await self._jobs.stop(grace_seconds=self._settings.shutdown_grace_seconds)
        if self._engine is not None:
            await self._engine.close()
        await asyncio.to_thread(self._recordings.close)
        if self._settings.tracing:
            await asyncio.to_thread(stop_tracing)

    async def _load_and_warm(self) -> None:
        began = time.monotonic()
        try:
            loaded = await _in_daemon_thread(lambda: self._load(self._settings))
            self._build(loaded)
            self.metrics.load_seconds.set(time.monotonic() - began)
            self._enter(ServiceState.WARMING)
            assert self._engine is not None
            warming = time.monotonic()
            await asyncio.gather(self._engine.warm_up(), asyncio.to_thread(self._recordings.start))
            self.metrics.warm_up_seconds.set(time.monotonic() - warming)
            if self._jobs is not None:
                self._work_on(self._jobs, loaded)
        except Exception as error:  # noqa: BLE001 (the outer edge: logged, and seen by /ready)
            # Our own errors say all in their message; a trace is for what nobody foresaw.
            trace = None if isinstance(error, MT3Error) else error
            log_event(_logger, "model_failed", level=logging.ERROR, error=trace, reason=str(error))
            self._enter(ServiceState.FAILED)
            self.failure = error
            return
        self._enter(ServiceState.READY)
        log_event(
            _logger,
            "model_ready",
            model=self.spec.name,
            precision=loaded.provenance.precision,
            precision_setting=loaded.provenance.precision_setting,
            kernels=loaded.provenance.kernels,
            instruction_set=loaded.provenance.instruction_set,
            seconds=round(time.monotonic() - began, 3),
        )
        if self._on_ready is not None:
            self._on_ready()

    def _build(self, loaded: LoadedModel) -> None:
        settings = self._settings
        self.model = loaded.provenance
        self.metrics.build.info(
            {
                "version": loaded.provenance.code_version,
                "model": loaded.provenance.name,
                "checkpoint_sha256": loaded.provenance.checkpoint_sha256,
                "precision": loaded.provenance.precision,
            }
        )
        count = settings.recording_processes
        self._recordings = RecordingProcesses(
            suitable_recording_processes(usable_cores(), loaded.backend.slots)
            if count is None
            else count
        )
        self._engine = Engine(
            loaded.backend,
            loaded.spec,
            max_waiting_audio_seconds=settings.max_waiting_audio_seconds,
            on_health=self._handle_health,
            metrics=self.metrics,
        )
        self._transcriber = Transcriber(
            self._engine,
            loaded.spec,
            loaded.provenance,
            limits=_reading_limits(settings),
            max_open_recordings=settings.max_open_recordings
            or suitable_open_recordings(loaded.backend.slots),
            open_work=self._recordings.open_work,
            metrics=self.metrics,
        )

    def _work_on(self, jobs: JobService, loaded: LoadedModel) -> None:
        """Start processing items of jobs, on the engine of all requests."""
        settings, engine = self._settings, self._engine
        assert engine is not None
        in_flight = settings.job_items_in_flight or items_in_flight(loaded.backend.slots)
        transcriber = Transcriber(
            engine,
            loaded.spec,
            loaded.provenance,
            limits=_reading_limits(settings),
            max_open_recordings=in_flight,
            is_background=True,
            open_work=self._recordings.open_work,
            metrics=self.metrics,
        )
        worker = ItemProcessor(
            jobs.objects,
            transcribe_when_healthy(transcriber, lambda: engine.is_healthy, self.keys.limits_of),
            fetchers={"url": jobs.fetchers.url.fetch, "object": jobs.fetchers.object.fetch},
            files=self._files,
        )
        jobs.work(
            worker.process,
            WorkerOptions(
                concurrency=in_flight,
                fetches=settings.job_fetches_in_flight,
                fetches_per_tenant=settings.job_fetches_per_caller,
            ),
        )

    def _handle_health(self, is_healthy: bool) -> None:
        """Enter the state for an unhealthy or recovered device."""
        if self.state is ServiceState.READY and not is_healthy:
            self._enter(ServiceState.FAILED)
        elif self.state is ServiceState.FAILED and is_healthy:
            self._enter(ServiceState.READY)

    def _enter(self, state: ServiceState) -> None:
        """Change the state, unless the process is draining."""
        if self.state is not ServiceState.DRAINING:
            self.state = state
            self.metrics.set_state(state.value)


def suitable_open_recordings(slots: int) -> int:
    """Return how many recordings may be open by default.

    A recording of four segments (8 s) fills as many slots, so half as many recordings as slots are
    twice what keeps the device busy; and more than a CPU can use are cheap.
    """
    return max(_LEAST_OPEN_RECORDINGS, slots // 2)


def suitable_recording_processes(cores: int, slots: int) -> int:
    """Return how many processes work on recordings by default.

    None with few cores, which have nothing else to do than the model; else one for each 32 slots,
    which are all that a CPU has, and at most one less than there are cores. Measured on an H200
    with 16 cores (`tests/README.md`): 15 processes carry 2,449 times real time, 8 carry 2,021.

    Args:
        cores: cores that the server may use.
        slots: segments that generate at once.
    """
    if cores < _FEWEST_CORES_TO_SHARE:
        return 0
    return max(1, min(cores - 1, slots // _SLOTS_PER_PROCESS))


def draining_error() -> NotReadyError:
    """Return the error for requests that a draining server does not accept or finish."""
    return NotReadyError(
        "draining: the server is going down; send the request again",
        state=ServiceState.DRAINING.value,
        retry_after_seconds=_GONE_RETRY_SECONDS,
    )


def open_jobs(settings: Settings, metrics: Metrics) -> JobService:
    """Open the jobs' storage and database by the settings. Blocks.

    Raises:
        DatabaseInUseError: Another process has the database.
        JobError: Database or folder cannot be used.
        StorageError: The storage cannot be used.
    """
    folder = data_folder(settings)
    try:
        if settings.database_url is None or settings.storage_url is None:
            folder.mkdir(parents=True, exist_ok=True)
        return open_job_service(
            database_url=settings.database_url or f"sqlite:///{folder / 'jobs.sqlite3'}",
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
            " with --data-dir or MT3_DATA_DIR, or keep no jobs (MT3_JOBS=false)"
        ) from error


def data_folder(settings: Settings) -> Path:
    """Return the folder of jobs whose database and storage are not set."""
    default = platformdirs.user_data_path("mt3-service", appauthor=False)
    return (settings.data_dir or default).absolute()


def _reading_limits(settings: Settings) -> ReadingLimits:
    return ReadingLimits(max_seconds=settings.max_audio_seconds, max_channels=settings.max_channels)


async def _in_daemon_thread(work: Callable[[], T]) -> T:
    """Await blocking work, such as a download, that does not delay the end of the process."""
    loop = asyncio.get_running_loop()
    done: asyncio.Future[T] = loop.create_future()

    def settle(set_outcome: Callable[[], None]) -> None:
        if not done.done():
            set_outcome()

    def run() -> None:
        try:
            result = work()
        except Exception as error:  # noqa: BLE001 (carried to the awaiting side)
            outcome = functools.partial(done.set_exception, error)
        else:
            outcome = functools.partial(done.set_result, result)
        with contextlib.suppress(RuntimeError):  # the loop has ended: nobody awaits
            loop.call_soon_threadsafe(settle, outcome)

    threading.Thread(target=run, name="loading", daemon=True).start()
    return await done
