"""A checkpoint on disk -> the parameters of one model, or an error that says what differs.

The road: read flat arrays from a T5X folder or a converted file, whichever the path turns out to
be; hold the names and shapes against `network/params.py` before anything large is read; refuse
numbers that are not finite; nest the arrays by path, with T5X's names. The arrays stay NumPy's:
where they go on a device is for the caller to say.
"""

import dataclasses
from pathlib import Path
from typing import Any

from mt3_model.checkpoint import converted, t5x
from mt3_model.checkpoint.digest import digest_arrays, refuse_non_finite
from mt3_model.errors import CheckpointContentError, CheckpointNotFoundError
from mt3_model.network.params import parameter_shapes
from mt3_model.spec import ModelSpec, NetworkSpec

_LISTED = 10
"""Names in one message; the rest are counted."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Checkpoint:
    """Parameters in memory, with where they come from."""

    parameters: dict[str, Any]
    """Nested by path: ``parameters["decoder"]["layers_0"]["mlp"]["wi_0"]["kernel"]``, float32."""
    sha256: str
    """Digest of the parameters; the same for a T5X folder and the converted file of it."""
    source: Path
    """The folder or file they were read from."""


def load_checkpoint(path: Path, spec: ModelSpec) -> Checkpoint:
    """Loads a model's parameters from a T5X folder or a converted file, told apart by content.

    Args:
        path: The T5X folder, its `checkpoint` index, or a converted file.
        spec: The model that the parameters must fit.

    Raises:
        CheckpointNotFoundError: There is nothing at the path that could be a checkpoint.
        CheckpointContentError: Arrays are missing, unknown, misshapen, damaged or not finite.
    """
    arrays, stated_sha256 = _read_arrays(path, spec)
    refuse_non_finite(arrays)
    sha256 = digest_arrays(arrays)
    if stated_sha256 not in (None, sha256):
        raise CheckpointContentError(
            f"{path} holds parameters of digest {sha256}; its header says {stated_sha256}. "
            "The file was altered or damaged: convert the checkpoint again"
        )
    return Checkpoint(parameters=nest_arrays(arrays), sha256=sha256, source=path)


def convert_checkpoint(source: Path, file: Path, spec: ModelSpec) -> Checkpoint:
    """Writes a checkpoint as one converted file, and returns what was written.

    Args:
        source: What `load_checkpoint` takes.
        file: The file to write; one that exists is replaced when the new one is whole.
        spec: The model that the parameters must fit.
    """
    checkpoint = load_checkpoint(source, spec)
    header = converted.ConvertedHeader(model=spec.name, sha256=checkpoint.sha256)
    converted.write_converted(flatten_parameters(checkpoint.parameters), file, header)
    return dataclasses.replace(checkpoint, source=file)


def nest_arrays(arrays: t5x.FlatArrays) -> dict[str, Any]:
    """``{"a/b": x}`` -> ``{"a": {"b": x}}``."""
    tree: dict[str, Any] = {}
    for path, array in arrays.items():
        *parents, name = path.split("/")
        node = tree
        for parent in parents:
            node = node.setdefault(parent, {})
        node[name] = array
    return tree


def flatten_parameters(parameters: dict[str, Any], prefix: str = "") -> t5x.FlatArrays:
    """``{"a": {"b": x}}`` -> ``{"a/b": x}``, the inverse of `nest_arrays`."""
    flat: t5x.FlatArrays = {}
    for name, node in sorted(parameters.items()):
        if isinstance(node, dict):
            flat |= flatten_parameters(node, f"{prefix}{name}/")
        else:
            flat[f"{prefix}{name}"] = node
    return flat


def refuse_other_shapes(found: t5x.Shapes, network: NetworkSpec) -> None:
    """Raises `CheckpointContentError` unless names and shapes are exactly the network's."""
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
            f"The checkpoint's arrays are not the model's. {'. '.join(problems)}. "
            "Check that the checkpoint and the model's name belong together"
        )


def _read_arrays(path: Path, spec: ModelSpec) -> tuple[t5x.FlatArrays, str | None]:
    """Flat arrays of the spec's shapes, and the digest that the file states, if it states one."""
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
        refuse_other_shapes(found, spec.network)

    arrays, header = converted.read_converted(path, check=check)
    return arrays, header.sha256


def _read_folder(folder: Path, spec: ModelSpec) -> t5x.FlatArrays:
    return t5x.read_t5x(folder, check=lambda found: refuse_other_shapes(found, spec.network))


def _list_some(names: list[str]) -> str:
    more = f" and {len(names) - _LISTED} more" if len(names) > _LISTED else ""
    return "; ".join(names[:_LISTED]) + more
