"""`mt3 download`, `convert` and `models`: the published models' checkpoints on this machine."""

import argparse

from mt3_model.checkpoint.download import download_model
from mt3_model.checkpoint.loading import convert_checkpoint
from mt3_model.checkpoint.locating import default_cache_folder, find_checkpoint
from mt3_model.checkpoint.manifest import read_entry, read_manifest
from mt3_model.errors import CheckpointNotFoundError
from service.commands.reading_settings import read_settings
from service.commands.terminal import EXIT_DONE, download_bar, say
from service.loading import REPOSITORY_FOLDER, find_spec


def download(parsed: argparse.Namespace) -> int:
    """Fetches a model into the user's cache; returns the exit code."""
    settings = read_settings(parsed, "model")
    if settings.offline:
        raise CheckpointNotFoundError("downloads are switched off (MT3_OFFLINE); switch them on")
    entry = read_entry(settings.model, mirror=settings.checkpoint_mirror_url)
    with download_bar(entry.name) as show:
        folder = download_model(entry, default_cache_folder(), progress=show)
    say(str(folder))
    return EXIT_DONE


def convert(parsed: argparse.Namespace) -> int:
    """Writes a checkpoint as one file; returns the exit code."""
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
    """Lists the published models and where each is found; returns the exit code."""
    del parsed
    for entry in read_manifest().values():
        try:
            place = str(
                find_checkpoint(entry.name, repository_folder=REPOSITORY_FOLDER, offline=True)
            )
        except CheckpointNotFoundError:
            place = f"not here (mt3 download {entry.name})"
        say(f"{entry.name:16} {entry.description}\n{'':16} {place}")
    return EXIT_DONE
