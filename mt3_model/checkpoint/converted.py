"""A checkpoint as one safetensors file: float32 arrays by path, with what they are in its header.

The T5X folder is 295 files and gzip; this is one file to copy, mount or cache, read without
decompression. The header's metadata says which model it is, the digest of the parameters (see
`digest.py`) and the version of this layout. See deploy/decisions/0001.
"""

import dataclasses
import os
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import safetensors
from safetensors import numpy as safetensors_numpy

from mt3_model.checkpoint.t5x import FlatArrays, Shapes
from mt3_model.errors import CheckpointContentError

SUFFIX = ".safetensors"
FORMAT = "mt3-parameters"
FORMAT_VERSION = "1"


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class ConvertedHeader:
    """What a converted file says of itself."""

    model: str
    """The spec's name: models of one shape (`mt3`, `ismir2022_small`) differ in nothing else."""
    sha256: str
    """Digest of the parameters."""


def is_converted(file: Path) -> bool:
    """Whether a file begins as a safetensors file does: 8 bytes of header length, then JSON.

    Raises:
        CheckpointContentError: It cannot be read.
    """
    try:
        with file.open("rb") as stream:
            return stream.read(9)[8:] == b"{"
    except OSError as error:
        raise CheckpointContentError(
            f"{file} cannot be read ({error.strerror}); let this user read it"
        ) from error


def write_converted(arrays: Mapping[str, np.ndarray], file: Path, header: ConvertedHeader) -> None:
    """Writes float32 arrays as one file, under another name until it is whole."""
    file.parent.mkdir(parents=True, exist_ok=True)
    partial = file.with_name(f"{file.name}.{os.getpid()}.partial")
    metadata = {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "model": header.model,
        "sha256": header.sha256,
    }
    try:
        safetensors_numpy.save_file(
            {path: np.asarray(array, np.float32, order="C") for path, array in arrays.items()},
            partial,
            metadata,
        )
        partial.replace(file)
    finally:
        partial.unlink(missing_ok=True)


def read_converted(
    file: Path, *, check: Callable[[ConvertedHeader, Shapes], None] | None = None
) -> tuple[FlatArrays, ConvertedHeader]:
    """Reads a converted file.

    Args:
        file: Written by `write_converted`.
        check: Is called with the header and every array's shape before the arrays are read, and
            may raise.

    Returns:
        Path -> float32 array in sorted order of the paths, and the header.

    Raises:
        CheckpointContentError: The file is truncated, or not a converted checkpoint.
    """
    try:
        with safetensors.safe_open(file, framework="np") as opened:
            header = _read_header(file, opened.metadata())
            shapes: dict[str, tuple[int, ...]] = {}
            for path in sorted(opened.keys()):
                part = opened.get_slice(path)
                shapes[path] = tuple(part.get_shape())
                if part.get_dtype() != "F32":
                    raise CheckpointContentError(
                        f"{path} in {file}: found dtype {part.get_dtype()}; expected F32"
                    )
            if check is not None:
                check(header, shapes)
            return {path: opened.get_tensor(path) for path in shapes}, header
    except (safetensors.SafetensorError, OSError, ValueError) as error:
        raise CheckpointContentError(
            f"{file} is not a whole safetensors file ({error}); convert the checkpoint again"
        ) from error


def _read_header(file: Path, metadata: Mapping[str, str] | None) -> ConvertedHeader:
    found = metadata or {}
    form = (found.get("format"), found.get("format_version"))
    if form != (FORMAT, FORMAT_VERSION) or "model" not in found or "sha256" not in found:
        raise CheckpointContentError(
            f"{file} says it is {form[0]!r} version {form[1]!r}; expected {FORMAT!r} version "
            f"{FORMAT_VERSION!r} with its model and sha256. Convert it from the T5X folder"
        )
    return ConvertedHeader(model=found["model"], sha256=found["sha256"])
