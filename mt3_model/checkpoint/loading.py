"""Load a model's parameters from a T5X folder or a converted file.

The names and shapes of the arrays are compared with `network/params.py` before the large arrays are
read, and numbers that are not finite are rejected. The result is a tree of NumPy arrays with T5X's
names; the caller moves them to a device.
"""

import dataclasses
from pathlib import Path
from typing import Any

from mt3_model.checkpoint import converted, t5x
from mt3_model.checkpoint.digest import check_finite, digest_arrays
from mt3_model.errors import CheckpointContentError, CheckpointNotFoundError
from mt3_model.network.params import parameter_shapes
from mt3_model.spec import ModelSpec, NetworkSpec

_LISTED = 10
"""Maximum number of names listed in one error message; the others are only counted."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Checkpoint:
    """A model's parameters in memory, with their digest and source."""

    parameters: dict[str, Any]
    """Float32 arrays, nested by path:
    ``parameters["decoder"]["layers_0"]["mlp"]["wi_0"]["kernel"]``."""
    sha256: str
    """The digest of the parameters; equal for a T5X folder and its converted file."""
    source: Path
    """The folder or file that the parameters were read from."""


def load_checkpoint(path: Path, spec: ModelSpec) -> Checkpoint:
    """Load a model's parameters from a T5X folder or a converted file.

    The content, not the name, decides which of the two it is.

    Args:
        path: A T5X folder, its `checkpoint` index, or a converted file.
        spec: The model whose names and shapes the arrays must have.

    Raises:
        CheckpointNotFoundError: The path does not exist or is not a checkpoint folder.
        CheckpointContentError: Arrays are missing, unknown, misshapen, damaged or not finite.
    """
    arrays, stated_sha256 = _read_arrays(path, spec)
    check_finite(arrays)
    sha256 = digest_arrays(arrays)
    if stated_sha256 not in (None, sha256):
        raise CheckpointContentError(
            f"{path} contains parameters with digest {sha256}; its header says {stated_sha256}. "
            "The file was altered or damaged: convert the checkpoint again"
        )
    return Checkpoint(parameters=nest_arrays(arrays), sha256=sha256, source=path)


def convert_checkpoint(source: Path, file: Path, spec: ModelSpec) -> Checkpoint:
    """Convert a checkpoint to a single file, and return it.

    Args:
        source: A path that `load_checkpoint` accepts.
        file: The file to write; an existing file is replaced atomically.
        spec: The model whose names and shapes the arrays must have.
    """
    checkpoint = load_checkpoint(source, spec)
    header = converted.ConvertedHeader(model=spec.name, sha256=checkpoint.sha256)
    converted.write_converted(flatten_parameters(checkpoint.parameters), file, header)
    return dataclasses.replace(checkpoint, source=file)


def nest_arrays(arrays: t5x.FlatArrays) -> dict[str, Any]:
    """Nest arrays by path: ``{"a/b": x}`` -> ``{"a": {"b": x}}``."""
    tree: dict[str, Any] = {}
    for path, array in arrays.items():
        *parents, name = path.split("/")
        node = tree
        for parent in parents:
            node = node.setdefault(parent, {})
        node[name] = array
    return tree


def flatten_parameters(parameters: dict[str, Any], prefix: str = "") -> t5x.FlatArrays:
    """Flatten nested arrays: ``{"a": {"b": x}}`` -> ``{"a/b": x}``."""
    flat: t5x.FlatArrays = {}
    for name, node in sorted(parameters.items()):
        if isinstance(node, dict):
            flat |= flatten_parameters(node, f"{prefix}{name}/")
        else:
            flat[f"{prefix}{name}"] = node
    return flat


def check_shapes(found: t5x.Shapes, network: NetworkSpec) -> None:
    """Raise `CheckpointContentError` unless names and shapes are exactly those of the network."""
    expected = parameter_shapes(network)
    missing = [f"{path} {expected[path]}" for path in expected if path not in found]
    unknown = [f"{path} {found[path]}" for path in sorted(found) if path not in expected]
    misshapen = [
        f"{path} {found[path]}, expected {shape}"
        for path, shape in expected.items()
        if path in found and tuple(found[path]) != shape
    ]
    problems = [
        f"{len(names)} {word}: {_list_some(names)}"
        for word, names in (("missing", missing), ("unknown", unknown), ("misshapen", misshapen))
        if names
    ]
    if problems:
        raise CheckpointContentError(
            f"The checkpoint's arrays are not those of the model. {'. '.join(problems)}. "
            "Check that the checkpoint and the model's name belong together"
        )


def _read_arrays(path: Path, spec: ModelSpec) -> tuple[t5x.FlatArrays, str | None]:
    """Read flat arrays with the spec's shapes, and the digest in the header if there is one."""
    if path.is_dir():
        return _read_folder(path, spec), None
    if not path.is_file():
        raise CheckpointNotFoundError(
            f"There is nothing at {path}; expected a T5X checkpoint folder or a converted file. "
            "Correct the path, or run `mt3 download`"
        )
    if path.name == t5x.INDEX_NAME:
        return _read_folder(path.parent, spec), None
    if not converted.is_converted(path):
        raise CheckpointContentError(
            f"{path} is neither a T5X checkpoint folder nor a converted safetensors file; "
            "give one of these"
        )

    def check(header: converted.ConvertedHeader, found: t5x.Shapes) -> None:
        if header.model != spec.name:
            raise CheckpointContentError(
                f"{path} was converted from the model {header.model!r}; expected {spec.name!r}. "
                "Choose that model, or convert the right checkpoint"
            )
        check_shapes(found, spec.network)

    arrays, header = converted.read_converted(path, check=check)
    return arrays, header.sha256


def _read_folder(folder: Path, spec: ModelSpec) -> t5x.FlatArrays:
    return t5x.read_t5x(folder, check=lambda found: check_shapes(found, spec.network))


def _list_some(names: list[str]) -> str:
    more = f" and {len(names) - _LISTED} more" if len(names) > _LISTED else ""
    return "; ".join(names[:_LISTED]) + more
