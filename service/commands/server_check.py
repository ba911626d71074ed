"""`mt3 serve --check`: test whether a server with these settings could start.

The checks run the server's own code: settings, port, folders, the jobs' database and storage, the
checkpoint. As at a start, a missing database is created.
"""

import asyncio
import re
import shutil
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from pydantic import SecretStr

from mt3_model.checkpoint.environment import REPOSITORY_FOLDER, default_compilation_cache
from mt3_model.errors import CheckpointNotFoundError, MT3Error, OptionError
from service.assembly import DATA_FOLDER_MODE, data_folder
from service.assembly import open_jobs as open_running_jobs
from service.commands.terminal import EXIT_DONE, EXIT_USAGE, complain, say
from service.errors import ServiceError, StorageError
from service.model_loading import find_spec
from service.observability.metrics import Metrics
from service.settings import Settings

_MASK = "****"
_BETWEEN_URLS = re.compile(r",\s*(?=\w+://)")
Check = Callable[[], str]
"""Returns a description of what was checked; raises an error if the check fails."""


def check_server(settings: Settings, open_port: Check) -> int:
    """Print the settings in effect, and try everything that a start needs.

    Args:
        settings: the settings in effect.
        open_port: opens the port and closes it again.

    Returns:
        The exit code: 2 if something failed, each named on standard error.
    """
    for line in describe_settings(settings):
        say(line)
    checks: dict[str, Check] = {
        "settings": lambda: _check_settings(settings),
        "port": open_port,
        "upload folder": lambda: _check_folder(
            settings.upload_dir or Path(tempfile.gettempdir()), settings.max_upload_bytes
        ),
    }
    if settings.jobs:
        if settings.database_url is None or settings.storage_url is None:
            checks["data folder"] = lambda: _check_data_folder(settings)
        checks["jobs"] = lambda: _check_jobs(settings)
    if settings.worker and settings.backend == "jax":
        checks["compiled programs"] = lambda: _check_folder(
            settings.compilation_cache_dir or default_compilation_cache(), 0, new_mode=0o777
        )
        checks["checkpoint"] = lambda: _check_checkpoint(settings)
    failed = 0
    for name, check in checks.items():
        try:
            say(f"ok: {name}: {check()}")
        except (MT3Error, ServiceError, OSError) as error:
            failed += 1
            complain(f"{name}: {' '.join(str(error).split())}")
    return EXIT_USAGE if failed else EXIT_DONE


def describe_settings(settings: Settings) -> Iterable[str]:
    """Yield each setting as `MT3_NAME=value`, with secrets masked."""
    for name in type(settings).model_fields:
        origin = "" if name in settings.model_fields_set else "  (default)"
        yield f"MT3_{name.upper()}={_shown(getattr(settings, name))}{origin}"


def _shown(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, SecretStr):
        return _MASK
    if isinstance(value, bool):
        return str(value).lower()
    text = str(value)
    # One setting is a list of URLs.
    return ",".join(_without_password(url) for url in _BETWEEN_URLS.split(text))


def _without_password(url: str) -> str:
    """Mask the password and the query of a URL; return any other text as it is."""
    if "://" not in url:
        return url
    try:
        parts = urlsplit(url)
    except ValueError:
        return _MASK
    user, at, host = parts.netloc.rpartition("@")
    name, colon, _ = user.partition(":")
    masked = f"{name}{colon and f':{_MASK}'}{at}{host}"
    query = _MASK if parts.query else ""
    return urlunsplit((parts.scheme, masked, parts.path, query, ""))


def _check_settings(settings: Settings) -> str:
    from service.api.app import create_app  # noqa: PLC0415

    service = create_app(settings.model_copy(update={"tracing": False})).state.service
    return "keys are required" if service.keys.are_required else "no keys are required"


def _check_folder(folder: Path, wanted_bytes: int, *, new_mode: int | None = None) -> str:
    """Check that a folder can be written; create it, if a mode for a new one is given."""
    try:
        if new_mode is not None:
            folder.mkdir(mode=new_mode, parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(b"\0")
        free = shutil.disk_usage(folder).free
    except OSError as error:
        raise OptionError(
            "folder", f"{folder} cannot be written ({error.strerror or error})"
        ) from error
    if free < wanted_bytes:
        raise OptionError(
            "folder",
            f"{folder} has {free / 1e9:.1f} GB free; one recording may have"
            f" {wanted_bytes / 1e9:.1f} GB (MT3_MAX_UPLOAD_BYTES)",
        )
    return f"{folder}, {free / 1e9:.1f} GB free"


def _check_data_folder(settings: Settings) -> str:
    return _check_folder(
        data_folder(settings), settings.max_upload_bytes, new_mode=DATA_FOLDER_MODE
    )


def _check_jobs(settings: Settings) -> str:
    jobs = open_running_jobs(settings, Metrics())
    try:
        # A start does not wait for the storage; here its errors are what is asked for.
        jobs.queue.require_storage()
    except StorageError as error:
        raise StorageError(f"{error}; correct MT3_STORAGE_URL or its credentials") from error
    finally:
        asyncio.run(jobs.queue.close(grace_seconds=0.0))
    return "database and storage can be used"


def _check_checkpoint(settings: Settings) -> str:
    # Imported here because they import JAX.
    from mt3_model.checkpoint.loading import load_checkpoint  # noqa: PLC0415
    from mt3_model.checkpoint.locating import find_checkpoint  # noqa: PLC0415
    from mt3_model.hardware import choose_arithmetic  # noqa: PLC0415

    try:
        path = find_checkpoint(
            settings.model,
            explicit=settings.checkpoint,
            repository_folder=REPOSITORY_FOLDER,
            offline=True,
        )
    except CheckpointNotFoundError:
        if settings.checkpoint is not None or settings.offline:
            raise
        return "not on this machine; it will be downloaded at the start"
    loaded = load_checkpoint(path, find_spec(settings))
    chosen = choose_arithmetic(settings.precision, settings.cpu_kernels, settings.gpu_kernels)
    arithmetic = f"{chosen.precision} by {chosen.kernels}"
    return f"{path}, sha256 {loaded.sha256}, to be used in {arithmetic}"
