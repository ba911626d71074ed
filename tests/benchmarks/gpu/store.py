"""Collects the material's files in a folder outside the tree, over as many calls as they need.

A call brings the files in its copy of the tree. Complete ones (by the manifest's sha256) stay in
the store, so that the next call can bring the rest. Files of other material are replaced.
"""

import dataclasses
import pathlib
import shutil

from tests.benchmarks.gpu.material import (
    MANIFEST_FILE,
    describe_file,
    read_manifest,
)


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Stock:
    """State of the store after a call."""

    folder: pathlib.Path
    missing: tuple[str, ...]
    """Files that no call has brought yet, or that do not match the manifest."""


class NoMaterialError(Exception):
    """There is no manifest that describes the material."""


def keep_material(material: pathlib.Path, store: pathlib.Path | None) -> Stock:
    """Copy new, complete files into the store and return what is still missing.

    Args:
        material: the folder that `pack` wrote, or a part of it; may not exist if the store is
            complete.
        store: folder that keeps files between calls; None uses ``material`` in place.
    """
    folder = store or material
    if store is not None and (material / MANIFEST_FILE).is_file():
        store.mkdir(parents=True, exist_ok=True)
        for name, stated in read_manifest(material)["files"].items():
            found = material / name
            if found.is_file() and describe_file(found) == stated:
                _copy_whole(found, store / name)
        _copy_whole(material / MANIFEST_FILE, store / MANIFEST_FILE)
    if not (folder / MANIFEST_FILE).is_file():
        raise NoMaterialError(
            f"there is no {MANIFEST_FILE} in {folder}; expected what"
            " `python -m tests.benchmarks.gpu.pack` writes. Bring it, or measure with"
            " --random-weights"
        )
    return Stock(
        folder=folder,
        missing=tuple(
            name
            for name, stated in read_manifest(folder)["files"].items()
            if not (folder / name).is_file() or describe_file(folder / name) != stated
        ),
    )


def _copy_whole(source: pathlib.Path, target: pathlib.Path) -> None:
    """Copy a file so that its name never refers to a partial copy."""
    partial = target.with_name(target.name + ".partial")
    shutil.copyfile(source, partial)
    partial.replace(target)
