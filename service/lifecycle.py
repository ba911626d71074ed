"""The life of the server's objects, from loading to draining, and the state that readiness reports.

The model is loaded while the server already answers:

    loading   the checkpoint is found, downloaded if needed, and read
    warming   the device compiles everything that the first request would otherwise wait for
    ready     requests are served
    draining  the process is about to end; running requests finish
    failed    the device keeps failing; once it works again, the service is ready again. Also if the
              model cannot be loaded: `mt3 serve` and `mt3 worker` then end
"""

import asyncio
import contextlib
import enum
import logging
import math
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from mt3_model.errors import MT3Error, OptionError
from mt3_model.export.formats import load_writers
from mt3_model.notes.transcription import ModelProvenance
from service import assembly
from service.assembly import Pipeline
from service.daemon_thread import in_daemon_thread
from service.errors import JobsDisabledError, NotReadyError
from service.item_processing import TemporaryFiles
from service.model_loading import Loader, code_version, find_spec, load_model
from service.observability.logging import log_event
from service.observability.metrics import Metrics
from service.observability.tracing import start_tracing, stop_tracing
from service.settings import Settings
from service.transcriber import Transcriber

if TYPE_CHECKING:
    # For the type checker only: a server without jobs starts without SQLAlchemy and DBOS.
    from service.jobs.running.job_service import JobService

_LOADING_RETRY_SECONDS = 5
_GONE_RETRY_SECONDS = 30
_logger = logging.getLogger(__name__)


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
        """Prepare the service; `open_jobs` and `start` start it.

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
        self.keys = assembly.build_key_store(settings, self.metrics)
        self.model: ModelProvenance | None = None
        self.pipeline: Pipeline | None = None
        """The objects that work with the model; None until it is loaded."""
        if settings.tracing:
            start_tracing(version=code_version(), ratio=settings.tracing_ratio)
        self._settings = settings
        self._load = load
        self._on_ready = on_ready
        self._loading: asyncio.Task[None] | None = None
        self._jobs: "JobService | None" = None
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
        """Whether recordings of jobs are running in this process."""
        return self._jobs is not None and self._jobs.has_items_running

    @property
    def max_sync_audio_seconds(self) -> float:
        """Longest recording transcribed in one request; infinite without jobs or a limit."""
        limit = self._settings.max_sync_audio_seconds if self._settings.jobs else None
        return math.inf if limit is None else limit

    @property
    def jobs(self) -> "JobService":
        """The jobs.

        Raises:
            JobsDisabledError: The deployment accepts none.
        """
        if self._jobs is None:
            raise JobsDisabledError(
                "this server accepts no jobs (MT3_JOBS=false); send recordings to"
                " /v1/transcriptions"
            )
        return self._jobs

    @property
    def transcriber(self) -> Transcriber:
        """The transcriber of requests.

        Raises:
            NotReadyError: There is none at present; ``state`` says why.
        """
        self.require_ready()
        assert self.pipeline is not None
        return self.pipeline.transcriber

    def require_ready(self) -> None:
        """Refuse unless requests can be served.

        Raises:
            NotReadyError: They cannot; ``state`` says why.
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
                if self.pipeline is not None and not self.pipeline.engine.is_healthy:
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
            NotReadyError: They are; the message says which.
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
            self._jobs = assembly.open_jobs(self._settings, self.metrics)

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
            # Before the engine ends, which would make unfinished items fail.
            await self._jobs.stop(grace_seconds=self._settings.shutdown_grace_seconds)
        if self.pipeline is not None:
            await self.pipeline.close()
        if self._settings.tracing:
            await asyncio.to_thread(stop_tracing)

    async def _load_and_warm(self) -> None:
        began = time.monotonic()
        try:
            loaded = await in_daemon_thread(lambda: self._load(self._settings), name="loading")
            self._show_model(loaded.provenance)
            self.pipeline = assembly.build_pipeline(
                self._settings, loaded, on_health=self._handle_health, metrics=self.metrics
            )
            self.metrics.load_seconds.set(time.monotonic() - began)
            self._enter(ServiceState.WARMING)
            warming = time.monotonic()
            await self.pipeline.warm_up()
            self.metrics.warm_up_seconds.set(time.monotonic() - warming)
            if self._jobs is not None:
                assembly.start_items(
                    self._settings,
                    self.pipeline,
                    self._jobs,
                    limits_of=self.keys.limits_of,
                    files=self._files,
                )
        except Exception as error:  # noqa: BLE001 (the outer edge: logged, and seen by /ready)
            # The messages of our own errors are sufficient; other errors are logged with a
            # traceback.
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
        await asyncio.to_thread(load_writers)

    def _show_model(self, model: ModelProvenance) -> None:
        """Keep the model's provenance, and show it in the metrics."""
        self.model = model
        self.metrics.build.info(
            {
                "version": model.code_version,
                "model": model.name,
                "checkpoint_sha256": model.checkpoint_sha256,
                "precision": model.precision,
            }
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


def draining_error() -> NotReadyError:
    """Return the error for requests that a draining server does not accept or finish."""
    return NotReadyError(
        "draining: the server is shutting down; send the request again",
        state=ServiceState.DRAINING.value,
        retry_after_seconds=_GONE_RETRY_SECONDS,
    )
