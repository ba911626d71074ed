"""Read and write converted checkpoints: one safetensors file of float32 arrays by path.

A T5X folder has 295 gzip-compressed files. A converted checkpoint is one uncompressed file that is
easy to copy, mount or cache. Its header has the name of the model, the digest of the parameters
(see `digest.py`) and the version of the layout. See deploy/decisions/0001.
"""

import dataclasses
import stat
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import safetensors
from safetensors import numpy as safetensors_numpy

from mt3_model.checkpoint.atomic_rename import write_atomically
from mt3_model.checkpoint.t5x import FlatArrays, Shapes
from mt3_model.errors import CheckpointContentError

SUFFIX = ".safetensors"
FORMAT = "mt3-parameters"
FORMAT_VERSION = "1"


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class ConvertedHeader:
    """The metadata in the header of a converted file."""

    model: str
    """The spec's name, because array shapes do not identify it: `mt3` and `ismir2022_small` have
    the same shapes."""
    sha256: str
    """The digest of the parameters."""


def is_converted(file: Path) -> bool:
    """Check whether a file starts like a safetensors file: 8 bytes of header length, then JSON.

    Raises:
        CheckpointContentError: The file cannot be read.
    """
    try:
        with file.open("rb") as stream:
            return stream.read(9)[8:] == b"{"
    except OSError as error:
        raise CheckpointContentError(
            f"{file} cannot be read ({error.strerror}); give this user permission to read it"
        ) from error


def write_converted(arrays: Mapping[str, np.ndarray], file: Path, header: ConvertedHeader) -> None:
    """Write float32 arrays as one file, atomically.

    Raises:
        OSError: the file cannot be written.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    metadata = {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "model": header.model,
        "sha256": header.sha256,
    }
    with write_atomically(file) as temporary:
        # safetensors creates files that only their owner can read (0600), but one user may convert
        # a checkpoint that another serves. So the file gets the mode of an ordinary new file.
        temporary.touch()
        mode = stat.S_IMODE(temporary.stat().st_mode)
        try:
            safetensors_numpy.save_file(
                {path: np.asarray(array, np.float32, order="C") for path, array in arrays.items()},
                temporary,
                metadata,
            )
        except safetensors.SafetensorError as error:
            raise OSError(f"{file} cannot be written: {error}") from error
        temporary.chmod(mode)


def read_converted(
    file: Path, *, check: Callable[[ConvertedHeader, Shapes], None] | None = None
) -> tuple[FlatArrays, ConvertedHeader]:
    """Read a converted file.

    Args:
        file: A file written by `write_converted`.
        check: A function called with the header and the shape of every array before the arrays are
            read; it raises an error to reject the file.

    Returns:
        The float32 arrays by path, sorted by path, and the header.

    Raises:
        CheckpointContentError: The file is truncated or is not a converted checkpoint.
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
            f"{file} is not a complete safetensors file ({error}); convert the checkpoint again"
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
