"""A model's name -> the checkpoint to load, at the first of four places that has one.

1. The path that the caller names (`--checkpoint`, `MT3_CHECKPOINT`); nothing else is then tried.
2. The repository's `checkpoints/` folder.
3. The user's cache folder.
4. A download into the cache folder, unless the caller is offline.

At 1 to 3 a checkpoint is the T5X folder `<name>/` or the converted file `<name>.safetensors`. The
environment is not read here: what it says comes in as arguments.
"""

from pathlib import Path

import platformdirs

from mt3_model.checkpoint import converted, t5x
from mt3_model.checkpoint.download import Progress, download_model
from mt3_model.checkpoint.manifest import ManifestEntry, read_entry
from mt3_model.errors import CheckpointNotFoundError, DownloadError

_REMEDY = "Put a checkpoint at one of them, name one with --checkpoint or MT3_CHECKPOINT"


def default_cache_folder() -> Path:
    """The system's place for files that can be fetched again, e.g. ~/.cache/mt3-service."""
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
    """Finds a model's checkpoint, or downloads it.

    Args:
        model: A name of `spec.MODELS`.
        explicit: A T5X folder, a converted file, or a folder that holds either under the model's
            name; if given, the only place tried.
        repository_folder: The repository's root, where there is one.
        cache_folder: Where downloads lie; None for the user's cache folder.
        offline: Forbids the download.
        progress: Told of the download's (bytes done, bytes in all).
        entry: What to download; None for the manifest's entry of the model.

    Returns:
        A path for `load_checkpoint`.

    Raises:
        CheckpointNotFoundError: It is nowhere; the message lists the paths tried.
        DownloadError: It could not be downloaded.
    """
    if explicit is not None:
        return _find_explicit(model, explicit)
    cache_folder = cache_folder or default_cache_folder()
    places = [] if repository_folder is None else [repository_folder / "checkpoints"]
    tried: list[Path] = []
    for place in (*places, cache_folder):
        for candidate in (place / model, place / f"{model}{converted.SUFFIX}"):
            if _is_checkpoint(candidate):
                return candidate
            tried.append(candidate)
    if offline:
        raise _not_found(
            model,
            tried,
            f"Downloads are switched off (MT3_OFFLINE). {_REMEDY}, or switch downloads on",
        )
    try:
        return download_model(entry or read_entry(model), cache_folder, progress=progress)
    except DownloadError as error:
        raise type(error)(
            f"No checkpoint of {model!r} at {_list(tried)}, and it cannot be downloaded: {error}."
            f" {_REMEDY}, or mend the network"
        ) from error


def _find_explicit(model: str, explicit: Path) -> Path:
    candidates = (explicit, explicit / model, explicit / f"{model}{converted.SUFFIX}")
    for candidate in candidates:
        if _is_checkpoint(candidate):
            return candidate
    remedy = "Name a T5X checkpoint folder (it holds a file 'checkpoint') or a converted file"
    if not explicit.exists():
        raise CheckpointNotFoundError(f"There is nothing at {explicit}. {remedy}")
    raise _not_found(model, list(candidates), remedy)


def _is_checkpoint(path: Path) -> bool:
    """Whether something is there to be loaded; whether it is any good is `load_checkpoint`'s.

    Raises:
        CheckpointNotFoundError: A folder on the way to it may not be searched.
    """
    try:
        return path.is_file() or (path / t5x.INDEX_NAME).is_file()
    except PermissionError as error:
        raise CheckpointNotFoundError(
            f"{path} cannot be read ({error.strerror}); let this user read it, or name another"
            " with --checkpoint or MT3_CHECKPOINT"
        ) from error


def _not_found(model: str, tried: list[Path], remedy: str) -> CheckpointNotFoundError:
    return CheckpointNotFoundError(f"No checkpoint of {model!r} at {_list(tried)}. {remedy}.")


def _list(paths: list[Path]) -> str:
    return " or ".join(map(str, paths))
