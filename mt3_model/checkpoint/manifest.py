"""`checkpoints/manifest.toml` -> what there is to download: files, sizes, sums, licence, spec.

The manifest is data beside the checkpoints in the repository and is carried inside the package
when it is built, so an installed program finds it too. A model whose files nobody here has held
has no sums in it, and says so by an empty list.
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
    """One file of a checkpoint, and how to know that it is whole."""

    path: str
    """Relative to the model's folder, with forward slashes."""
    bytes: int
    sha256: str | None
    """Lowercase hexadecimal; None where only the bucket's listing is known."""
    md5: str | None = None
    """Lowercase hexadecimal, from the bucket's listing."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class ManifestEntry:
    """One published model."""

    name: str
    spec: ModelSpec
    description: str
    base_url: str
    """The files' paths are appended to it; it ends in a slash."""
    listing_url: str
    """Google Cloud Storage's JSON listing of the folder, for a model without known files."""
    licence: str
    files: tuple[ManifestFile, ...]
    """Empty where the sums are not known."""

    @property
    def total_bytes(self) -> int:
        """What a download moves."""
        return sum(file.bytes for file in self.files)


def read_manifest(file: Path | None = None) -> dict[str, ManifestEntry]:
    """Reads the manifest: model name -> entry.

    Args:
        file: A manifest of your own; None for the one of the package or the repository.

    Raises:
        CheckpointContentError: The manifest does not have the expected form.
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
    """Reads one model's entry, or raises `CheckpointNotFoundError` naming those there are.

    Args:
        model: Its name.
        file: A manifest of your own; None for the one of the package or the repository.
        mirror: A URL under which the models' folders lie, in the published one's place; the
            files must be the same, as their sums are.
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


def refuse_outside_path(path: str) -> None:
    """Raises `CheckpointContentError` for a path that is not plainly inside its folder."""
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
        licence=table["licence"],
        files=tuple(_read_file(file) for file in table.get("files", ())),
    )


def _read_file(table: Mapping[str, Any]) -> ManifestFile:
    path, size, sha256 = table["path"], table["bytes"], table["sha256"]
    refuse_outside_path(path)
    if not isinstance(size, int) or size < 0 or len(sha256) != _SHA256_LENGTH:
        raise CheckpointContentError(
            f"The manifest's {path} has {size!r} bytes and sha256 {sha256!r}; expected a whole "
            "number and 64 hexadecimal digits"
        )
    return ManifestFile(path=path, bytes=size, sha256=sha256.lower())
