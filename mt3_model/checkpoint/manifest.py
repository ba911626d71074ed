"""Read `checkpoints/manifest.toml`, which lists the models to download with files and checksums.

The manifest is in the folder of the checkpoints in the repository, and is copied into the package
when it is built, so an installed package has it too. A model whose files could not be obtained has
an empty list of files.
"""

import dataclasses
import tomllib
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from mt3_model.errors import CheckpointContentError, CheckpointNotFoundError
from mt3_model.spec import MODELS, ModelSpec

_FORMAT_VERSION = 1
_SHA256_LENGTH = 64


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class ManifestFile:
    """One file of a checkpoint, with its size and checksums."""

    path: str
    """Relative to the model's folder, with forward slashes."""
    bytes: int
    sha256: str | None
    """Lowercase hexadecimal; None if only the bucket's listing is known."""
    md5: str | None = None
    """Lowercase hexadecimal, from the bucket's listing."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class ManifestEntry:
    """One published model."""

    name: str
    spec: ModelSpec
    description: str
    base_url: str
    """The URL of the model's folder, with a final slash; file paths are appended to it."""
    listing_url: str
    """Google Cloud Storage's JSON listing of the folder, for a model without known files."""
    files: tuple[ManifestFile, ...]
    """The model's files; empty if their checksums are not known."""

    @property
    def total_bytes(self) -> int:
        """The size of the download."""
        return sum(file.bytes for file in self.files)


def read_manifest(file: Path | None = None) -> dict[str, ManifestEntry]:
    """Read the manifest as model name -> entry.

    Args:
        file: The manifest; None for that of the package or the repository.

    Raises:
        CheckpointContentError: The manifest is not valid.
        CheckpointNotFoundError: There is no manifest.
    """
    file = file or _find_manifest()
    try:
        content = tomllib.loads(file.read_text(encoding="utf-8"))
        version = content.get("format_version")
        if version != _FORMAT_VERSION:
            raise CheckpointContentError(
                f"{file} has format_version {version!r}; expected {_FORMAT_VERSION}"
            )
        return {name: _read_entry(name, table) for name, table in content["models"].items()}
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, KeyError, TypeError) as error:
        raise CheckpointContentError(
            f"{file} is not a checkpoint manifest ({error!r}); see checkpoints/README.md"
        ) from error


def read_entry(model: str, file: Path | None = None, *, mirror: str | None = None) -> ManifestEntry:
    """Read the entry of one model.

    Args:
        model: The model's name.
        file: The manifest; None for that of the package or the repository.
        mirror: The URL of a folder of model folders, to use instead of the published one. The files
            must be identical, because their checksums are.

    Raises:
        CheckpointNotFoundError: The manifest has no such model; the message lists the models.
    """
    entries = read_manifest(file)
    if model not in entries:
        raise CheckpointNotFoundError(
            f"The manifest has no model {model!r}; it has {', '.join(sorted(entries))}"
        )
    entry = entries[model]
    if mirror is None:
        return entry
    return dataclasses.replace(entry, base_url=f"{mirror.rstrip('/')}/{model}/")


def check_relative_path(path: str) -> None:
    """Raise `CheckpointContentError` unless a path is relative and stays inside its folder."""
    parts = PurePosixPath(path).parts
    is_plain = path == "/".join(parts) and not path.startswith("/") and ".." not in parts
    if not parts or not is_plain or any(sign in path for sign in "\\\0:"):
        raise CheckpointContentError(
            f"The file list names {path!r}; expected a path inside the model's folder"
        )


def _find_manifest() -> Path:
    inside_package = Path(__file__).with_name("manifest.toml")
    in_repository = Path(__file__).parents[2] / "checkpoints" / "manifest.toml"
    for file in (inside_package, in_repository):
        if file.is_file():
            return file
    raise CheckpointNotFoundError(
        f"No manifest at {inside_package} or {in_repository}; reinstall the package"
    )


def _read_entry(name: str, table: Mapping[str, Any]) -> ManifestEntry:
    spec = MODELS.get(table["spec"])
    if spec is None:
        raise CheckpointContentError(
            f"The manifest's {name} names the spec {table['spec']!r}; expected one of "
            f"{', '.join(MODELS)}"
        )
    if not table["base_url"].endswith("/"):
        raise CheckpointContentError(f"The manifest's {name} has a base_url without a final slash")
    return ManifestEntry(
        name=name,
        spec=spec,
        description=table["description"],
        base_url=table["base_url"],
        listing_url=table["listing_url"],
        files=tuple(_read_file(file) for file in table.get("files", ())),
    )


def _read_file(table: Mapping[str, Any]) -> ManifestFile:
    path, size, sha256 = table["path"], table["bytes"], table["sha256"]
    check_relative_path(path)
    if not isinstance(size, int) or size < 0 or len(sha256) != _SHA256_LENGTH:
        raise CheckpointContentError(
            f"The manifest's {path} has {size!r} bytes and sha256 {sha256!r}; expected a whole "
            "number and 64 hexadecimal digits"
        )
    return ManifestFile(path=path, bytes=size, sha256=sha256.lower())
