"""Settings -> objects, and the state that readiness reports.

The only file that names concrete classes. Loading happens behind a server that already answers:

    loading   the checkpoint is looked for, downloaded if need be, and read
    warming   the device compiles what the first request would otherwise wait for
    ready     requests are served
    draining  the process is about to end; running requests finish
    failed    there is no model and will be none; the log says why
"""

import asyncio
import contextlib
import dataclasses
import enum
import functools
import importlib.metadata
import logging
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import platformdirs

from mt3_model.audio.recording import ReadingLimits
from mt3_model.errors import MT3Error, OptionError
from mt3_model.notes.transcription import ModelProvenance
from mt3_model.spec import MODELS, ModelSpec
from service.engine.backend import Backend
from service.engine.engine import Engine
from service.engine.fake_backend import FakeBackend
from service.errors import NotReadyError
from service.observability.logging import log_event
from service.observability.metrics import Metrics
from service.settings import Settings
from service.transcription import Transcriber

REPOSITORY_FOLDER = Path(__file__).parent.parent
"""Its ``checkpoints/`` is looked in; of an installed package this is a folder without one."""
if TYPE_CHECKING:
    # For the type checker; at run time `load_local` imports it, and JAX with it.
    from mt3_model.transcribe import LocalTranscriber

FAKE_SLOTS = 16
_LOADING_RETRY_SECONDS = 5
_GONE_RETRY_SECONDS = 30
_logger = logging.getLogger(__name__)
T = TypeVar("T")


class ServiceState(enum.Enum):
    """What the module's docstring says of each."""

    LOADING = "loading"
    WARMING = "warming"
    READY = "ready"
    DRAINING = "draining"
    FAILED = "failed"


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class LoadedModel:
    """A model in memory."""

    spec: ModelSpec
    provenance: ModelProvenance
    backend: Backend


Loader = Callable[[Settings], LoadedModel]
"""Loads what the settings name; blocks, and is run in a thread."""


def find_spec(settings: Settings) -> ModelSpec:
    """Gives the spec of the settings' model.

    Raises:
        OptionError: No published model has that name.
    """
    if settings.model not in MODELS:
        raise OptionError(
            "model", f"MT3_MODEL is {settings.model!r}; expected one of {', '.join(MODELS)}"
        )
    return MODELS[settings.model]


def load_model(settings: Settings) -> LoadedModel:
    """Loads the model that the settings name, on the backend they name."""
    spec = find_spec(settings)
    match settings.backend:
        case "jax":
            local = load_local(settings, _DownloadLog())
            return LoadedModel(spec=spec, provenance=local.model, backend=local.pool)
        case "fake":
            return LoadedModel(
                spec=spec,
                provenance=ModelProvenance(
                    name=spec.name,
                    checkpoint_sha256="fake",
                    code_version=code_version(),
                    precision="float32",
                ),
                backend=FakeBackend(spec, slots=settings.slots or FAKE_SLOTS),
            )


class Service:
    """The server's objects, from loading to draining."""

    def __init__(
        self,
        settings: Settings,
        load: Loader = load_model,
        on_ready: Callable[[], None] | None = None,
    ) -> None:
        self.spec = find_spec(settings)
        self.state = ServiceState.LOADING
        self.metrics = Metrics()
        self.model: ModelProvenance | None = None
        self._settings = settings
        self._load = load
        self._on_ready = on_ready
        self._engine: Engine | None = None
        self._transcriber: Transcriber | None = None
        self._loading: asyncio.Task[None] | None = None

    @property
    def transcriber(self) -> Transcriber:
        """What serves requests.

        Raises:
            NotReadyError: There is none now; ``state`` says why.
        """
        self.require_ready()
        assert self._transcriber is not None
        return self._transcriber

    def require_ready(self) -> None:
        """Refuses unless requests can be served.

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
                message, retry_after = "the server is going down", _GONE_RETRY_SECONDS
            case ServiceState.FAILED:
                message = "the model could not be loaded; the server's log says why"
                retry_after = _GONE_RETRY_SECONDS
        raise NotReadyError(
            f"{self.state.value}: {message}",
            state=self.state.value,
            retry_after_seconds=retry_after,
        )

    async def start(self) -> None:
        """Begins to load; returns at once."""
        self._loading = asyncio.create_task(self._load_and_warm())

    def begin_draining(self) -> None:
        """Takes no more requests; those running go on."""
        self.state = ServiceState.DRAINING

    async def stop(self) -> None:
        """Lets go of the device."""
        self.begin_draining()
        if self._loading is not None:
            self._loading.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._loading
        if self._engine is not None:
            await self._engine.close()

    async def _load_and_warm(self) -> None:
        began = time.monotonic()
        try:
            loaded = await _in_daemon_thread(lambda: self._load(self._settings))
            self._build(loaded)
            self._enter(ServiceState.WARMING)
            assert self._engine is not None
            await self._engine.warm_up()
        except Exception as error:  # noqa: BLE001 (the outer edge: logged, and seen by /ready)
            # Our own errors say all in their message; a trace is for what nobody foresaw.
            trace = None if isinstance(error, MT3Error) else error
            log_event(_logger, "model_failed", level=logging.ERROR, error=trace, reason=str(error))
            self._enter(ServiceState.FAILED)
            return
        self._enter(ServiceState.READY)
        log_event(_logger, "model_ready", model=self.spec.name, seconds=time.monotonic() - began)
        if self._on_ready is not None:
            self._on_ready()

    def _build(self, loaded: LoadedModel) -> None:
        settings = self._settings
        self.model = loaded.provenance
        self._engine = Engine(
            loaded.backend,
            loaded.spec,
            max_waiting_audio_seconds=settings.max_waiting_audio_seconds,
        )
        self._transcriber = Transcriber(
            self._engine,
            loaded.spec,
            loaded.provenance,
            limits=ReadingLimits(
                max_seconds=settings.max_audio_seconds, max_channels=settings.max_channels
            ),
            max_open_recordings=settings.max_open_recordings,
        )

    def _enter(self, state: ServiceState) -> None:
        """Changes the state, unless the process is already on its way down."""
        if self.state is not ServiceState.DRAINING:
            self.state = state


def default_compilation_cache() -> Path:
    """Where compiled programs are kept when no setting says otherwise."""
    return platformdirs.user_cache_path("mt3-service", appauthor=False) / "compiled"


def code_version() -> str:
    """The installed version of this code."""
    return importlib.metadata.version("mt3-service")


async def _in_daemon_thread(work: Callable[[], T]) -> T:
    """Awaits blocking work that the process need not wait for at its end, such as a download."""
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


def load_local(settings: Settings, progress: Callable[[int, int], None]) -> "LocalTranscriber":
    """Loads the library's transcriber as the settings say, for the server or the command line.

    JAX is imported here and not at the top, so that the server answers while JAX starts.

    Args:
        settings: Of the deployment.
        progress: Told of a download's (bytes done, bytes in all).
    """
    from mt3_model.transcribe import load_transcriber  # noqa: PLC0415

    return load_transcriber(
        settings.model,
        settings.checkpoint,
        slots=settings.slots,
        precision=settings.precision,
        offline=settings.offline,
        compilation_cache=settings.compilation_cache_dir or default_compilation_cache(),
        repository_folder=REPOSITORY_FOLDER,
        mirror=settings.checkpoint_mirror_url,
        download_progress=progress,
    )


class _DownloadLog:
    """Logs how far a download is, every tenth of the way."""

    def __init__(self) -> None:
        self._logged = -1

    def __call__(self, done: int, total: int) -> None:
        tenth = 10 * done // max(total, 1)
        if tenth > self._logged:
            self._logged = tenth
            log_event(_logger, "checkpoint_download", megabytes=done // 10**6, of=total // 10**6)
