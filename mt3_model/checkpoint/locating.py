"""Find the checkpoint of a model: on disk, or else by a download.

These places are tried in order:

1. The path given by the caller (`--checkpoint`, `MT3_CHECKPOINT`); no other path is then tried.
2. The repository's `checkpoints/` folder.
3. The user's cache folder.
4. A download into the cache folder, unless the caller is offline.

In 1 to 3 a checkpoint is a T5X folder `<name>/` or a converted file `<name>.safetensors`. This
module does not read the environment; see `environment.py`.
"""

from pathlib import Path

import platformdirs

from mt3_model.checkpoint import converted, t5x
from mt3_model.checkpoint.download import Progress, download_model
from mt3_model.checkpoint.manifest import ManifestEntry, read_entry
from mt3_model.errors import CheckpointNotFoundError, DownloadError

_REMEDY = "Put a checkpoint at one of them, name one with --checkpoint or MT3_CHECKPOINT"


def default_cache_folder() -> Path:
    """Return the user's cache folder, for example ~/.cache/mt3-service."""
    return platformdirs.user_cache_path("mt3-service", appauthor=False)


def find_checkpoint(
    model: str,
    *,
    explicit: Path | None = None,
    repository_folder: Path | None = None,
    cache_folder: Path | None = None,
    offline: bool = False,
    progress: Progress | None = None,
    entry: ManifestEntry | None = None,
) -> Path:
    """Find a model's checkpoint, or download it.

    Args:
        model: A name in `spec.MODELS`.
        explicit: A T5X folder, a converted file, or a folder with either of them under the model's
            name. If given, no other path is tried.
        repository_folder: The root of the repository, if there is one.
        cache_folder: The folder of downloads; None for the user's cache folder.
        offline: Never download.
        progress: Called during a download with (bytes done, total bytes).
        entry: The manifest entry to download; None for the model's entry.

    Returns:
        A path that `load_checkpoint` accepts.

    Raises:
        CheckpointNotFoundError: No checkpoint was found; the message lists the paths tried.
        DownloadError: The download failed.
    """
    if explicit is not None:
        return _find_explicit(model, explicit)
    cache_folder = cache_folder or default_cache_folder()
    folders = [] if repository_folder is None else [repository_folder / "checkpoints"]
    tried: list[Path] = []
    for folder in (*folders, cache_folder):
        for candidate in (folder / model, folder / f"{model}{converted.SUFFIX}"):
            if _is_checkpoint(candidate):
                return candidate
            tried.append(candidate)
    if offline:
        raise _not_found(
            model,
            tried,
            f"Downloads are disabled (MT3_OFFLINE). {_REMEDY}, or enable downloads",
        )
    try:
        return download_model(entry or read_entry(model), cache_folder, progress=progress)
    except DownloadError as error:
        raise type(error)(
            f"No checkpoint of {model!r} at {_list(tried)}, and it cannot be downloaded: {error}."
            f" {_REMEDY}, or fix the network"
        ) from error


def _find_explicit(model: str, explicit: Path) -> Path:
    candidates = (explicit, explicit / model, explicit / f"{model}{converted.SUFFIX}")
    for candidate in candidates:
        if _is_checkpoint(candidate):
            return candidate
    remedy = "Name a T5X checkpoint folder (it has a file 'checkpoint') or a converted file"
    if not explicit.exists():
        raise CheckpointNotFoundError(f"There is nothing at {explicit}. {remedy}")
    raise _not_found(model, list(candidates), remedy)


def _is_checkpoint(path: Path) -> bool:
    """Check whether a path is a file or a T5X folder; `load_checkpoint` checks the content.

    Raises:
        CheckpointNotFoundError: A parent folder cannot be searched.
    """
    try:
        return path.is_file() or (path / t5x.INDEX_NAME).is_file()
    except PermissionError as error:
        raise CheckpointNotFoundError(
            f"{path} cannot be read ({error.strerror}); give this user permission to read it, or"
            " name another with --checkpoint or MT3_CHECKPOINT"
        ) from error


def _not_found(model: str, tried: list[Path], remedy: str) -> CheckpointNotFoundError:
    return CheckpointNotFoundError(f"No checkpoint of {model!r} at {_list(tried)}. {remedy}.")


def _list(paths: list[Path]) -> str:
    return " or ".join(map(str, paths))
