"""`mt3 download`, `mt3 convert` and `mt3 models`: checkpoints on this machine."""

import argparse
from pathlib import Path

from mt3_model.checkpoint.download import download_model
from mt3_model.checkpoint.environment import REPOSITORY_FOLDER
from mt3_model.checkpoint.loading import convert_checkpoint
from mt3_model.checkpoint.locating import default_cache_folder, find_checkpoint
from mt3_model.checkpoint.manifest import read_entry, read_manifest
from mt3_model.errors import CheckpointNotFoundError
from service.commands.command_settings import read_settings
from service.commands.result_files import OutputError, is_device, require_writable
from service.commands.terminal import EXIT_DONE, download_bar, say
from service.model_loading import find_spec
from service.settings import Settings


def download(parsed: argparse.Namespace) -> int:
    """Download a model into the user's cache; return the exit code."""
    settings = read_settings(parsed, "model")
    if settings.offline:
        raise CheckpointNotFoundError("downloads are disabled (MT3_OFFLINE); enable them")
    entry = read_entry(settings.model, mirror=settings.checkpoint_mirror_url)
    with download_bar(entry.name) as show:
        folder = download_model(entry, default_cache_folder(), progress=show)
    say(str(folder))
    return EXIT_DONE


def convert(parsed: argparse.Namespace) -> int:
    """Write a checkpoint as one file; return the exit code.

    Raises:
        OutputError: the output cannot be written, or is no file.
    """
    require_writable(parsed.output)
    if is_device(parsed.output):
        raise OutputError(parsed.output, "is a pipe or device; expected the name of a file")
    settings = read_settings(parsed, "model", "checkpoint")
    source = find_checkpoint(
        settings.model,
        explicit=settings.checkpoint,
        repository_folder=REPOSITORY_FOLDER,
        offline=True,
    )
    converted = convert_checkpoint(source, parsed.output, find_spec(settings))
    say(f"{parsed.output} holds the parameters of {source}, sha256 {converted.sha256}")
    return EXIT_DONE


def list_models(parsed: argparse.Namespace) -> int:
    """List the published models with their paths and sizes; return the exit code.

    `MT3_CHECKPOINT` comes first, because it takes precedence.
    """
    settings = read_settings(parsed)
    if settings.checkpoint is not None:
        say(f"{'MT3_CHECKPOINT':16} used for {settings.model}, instead of those listed below")
        found = _describe_local(settings.model, settings.checkpoint)
        say(f"{'':16} {found or _describe_missing(settings)}")
    for entry in read_manifest().values():
        here = _describe_local(entry.name, None)
        size = f"{entry.total_bytes / 1e6:.0f} MB to download" if entry.total_bytes else ""
        missing = f"not here ({', '.join(filter(None, [size, f'mt3 download {entry.name}']))})"
        say(f"{entry.name:16} {entry.description}\n{'':16} {here or missing}")
    return EXIT_DONE


def _describe_local(model: str, explicit: Path | None) -> str | None:
    """Return a checkpoint's path and size, or None if it is not on this machine."""
    try:
        path = find_checkpoint(
            model, explicit=explicit, repository_folder=REPOSITORY_FOLDER, offline=True
        )
    except CheckpointNotFoundError:
        return None
    files = [path] if path.is_file() else [file for file in path.rglob("*") if file.is_file()]
    return f"{path} ({sum(file.stat().st_size for file in files) / 1e6:.0f} MB)"


def _describe_missing(settings: Settings) -> str:
    return f"{settings.checkpoint}: has no checkpoint of {settings.model}"
