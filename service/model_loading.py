"""Loads the model that the settings name, for the server, commands and benchmarks.

JAX is imported only when a model is loaded, so that a server answers requests while JAX starts.
"""

import concurrent.futures
import dataclasses
import importlib.metadata
import logging
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

from mt3_model.checkpoint.environment import REPOSITORY_FOLDER, default_compilation_cache
from mt3_model.errors import OptionError
from mt3_model.generation.backend import Backend
from mt3_model.notes.transcription import ModelProvenance
from mt3_model.spec import MODELS, ModelSpec
from service.engine.fake_backend import FakeBackend
from service.observability.logging import log_event
from service.settings import Settings

if TYPE_CHECKING:
    # For the type checker; at run time `load_local` imports it, and JAX with it.
    from mt3_model.transcribe import LocalTranscriber

FAKE_SLOTS = 16
_logger = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class LoadedModel:
    """A model in memory."""

    spec: ModelSpec
    provenance: ModelProvenance
    backend: Backend


Loader = Callable[[Settings], LoadedModel]
"""Loads the model of the settings; blocks, and is run in a thread."""


def find_spec(settings: Settings) -> ModelSpec:
    """Return the spec of the settings' model.

    Raises:
        OptionError: no published model has that name.
    """
    if settings.model not in MODELS:
        raise OptionError(
            "model",
            f"--model (or MT3_MODEL) is {settings.model!r}; expected one of {', '.join(MODELS)}",
        )
    return MODELS[settings.model]


def load_model(settings: Settings) -> LoadedModel:
    """Load the settings' model on their backend."""
    spec = find_spec(settings)
    match settings.backend:
        case "jax":
            local = load_local(settings, _DownloadLog())
            return LoadedModel(spec=spec, provenance=local.model, backend=local.backend)
        case "fake":
            return LoadedModel(
                spec=spec,
                provenance=ModelProvenance(
                    name=spec.name,
                    checkpoint_sha256="fake",
                    code_version=code_version(),
                    precision="float32",
                    precision_setting=settings.precision,
                ),
                backend=FakeBackend(
                    spec,
                    slots=settings.slots or FAKE_SLOTS,
                    iteration_seconds=settings.fake_iteration_seconds,
                ),
            )


def begin_loading(settings: Settings) -> Loader:
    """Start loading the model at once, in a separate thread.

    Loading mostly waits for disks and for compilers that release the interpreter lock, so that the
    process can import the rest of its modules in the meantime.

    Returns:
        A loader that waits for the result.
    """
    loaded: concurrent.futures.Future[LoadedModel] = concurrent.futures.Future()

    def load() -> None:
        try:
            loaded.set_result(load_model(settings))
        except BaseException as error:  # noqa: BLE001 (raised again in the waiting thread)
            loaded.set_exception(error)

    threading.Thread(target=load, name="early-loading", daemon=True).start()
    return lambda _: loaded.result()


def load_local(settings: Settings, progress: Callable[[int, int], None]) -> "LocalTranscriber":
    """Load the library's transcriber by the settings.

    Args:
        settings: the deployment's settings.
        progress: called during a download with the bytes done and the total.
    """
    from mt3_model.transcribe import load_transcriber  # noqa: PLC0415

    return load_transcriber(
        settings.model,
        settings.checkpoint,
        slots=settings.slots,
        precision=settings.precision,
        cpu_kernels=settings.cpu_kernels,
        gpu_kernels=settings.gpu_kernels,
        reproducible=settings.reproducible,
        offline=settings.offline,
        compilation_cache=settings.compilation_cache_dir or default_compilation_cache(),
        repository_folder=REPOSITORY_FOLDER,
        mirror=settings.checkpoint_mirror_url,
        download_progress=progress,
    )


class _DownloadLog:
    """Logs the progress of a download at every tenth."""

    def __init__(self) -> None:
        self._logged = -1

    def __call__(self, done: int, total: int) -> None:
        tenth = 10 * done // max(total, 1)
        if tenth > self._logged:
            self._logged = tenth
            log_event(_logger, "checkpoint_download", megabytes=done // 10**6, of=total // 10**6)


def code_version() -> str:
    """Return the installed version of this code."""
    return importlib.metadata.version("mt3-service")
