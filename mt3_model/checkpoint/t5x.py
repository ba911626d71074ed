"""Read a T5X checkpoint folder as arrays ``{"decoder/layers_0/mlp/wi_0/kernel": float32}``.

The folder has one msgpack index named `checkpoint` (version 3) and one zarr folder for each large
array. In the index, `optimizer.target` (newer T5X: `target`) is the parameter tree. A leaf is
either a small array or a TensorStore spec, a dict whose `kvstore.path` is the array's folder
relative to the checkpoint. All arrays are read concurrently by TensorStore, with which T5X also
writes them. The index is read by msgpack, because Flax, with which T5X writes it, takes 0.2 s to
import. This
module does not depend on the network: the caller may check the names and shapes before the large
arrays are read.

A checkpoint is an untrusted file. Every defect (a corrupt index, a missing or truncated chunk, a
path outside the folder) raises a `CheckpointContentError` that names the array.
Source: google-research/t5x cc342d4, checkpoints.py (`_read_ts`, `_maybe_update_ts_from_*`);
google/flax v0.12.8, serialization.py (`_msgpack_ext_unpack`).
"""

from collections.abc import Callable, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

import ml_dtypes
import msgpack
import numpy as np
import tensorstore

from mt3_model.errors import CheckpointContentError, CheckpointNotFoundError

INDEX_NAME = "checkpoint"
"""The index's file name; a folder with this file is treated as a T5X checkpoint."""

Shapes = Mapping[str, tuple[int, ...]]
FlatArrays = dict[str, np.ndarray]

_VERSION = 3
_ARRAY = 1
"""Flax's msgpack extension code of an array: its shape, the name of its dtype, its bytes."""
# The errors that TensorStore and msgpack raise for damaged files.
_DAMAGE = (ValueError, TypeError, KeyError, AttributeError, AssertionError, OSError, OverflowError)
_FLOAT_TYPES = ("float32", "bfloat16", "float16")


def read_t5x(folder: Path, *, check: Callable[[Shapes], None] | None = None) -> FlatArrays:
    """Read all parameters of a T5X checkpoint folder.

    Args:
        folder: The folder with `checkpoint` and the folders of the arrays.
        check: A function called with the shape of every array before the large ones are read. It
            raises an error to reject another model's checkpoint before it fills the memory.

    Returns:
        The float32 arrays in C order by path, sorted by path.

    Raises:
        CheckpointNotFoundError: The folder has no index.
        CheckpointContentError: The index or an array cannot be read; the message names it.
    """
    leaves = _read_index(folder)
    arrays: FlatArrays = {}
    stores: dict[str, Any] = {}
    opening = {
        path: _open_array(folder, path, leaf)
        for path, leaf in leaves.items()
        if isinstance(leaf, dict)
    }
    for path, leaf in leaves.items():
        if path in opening:
            stores[path] = _wait(opening[path], path)
        else:
            arrays[path] = _as_float32(leaf, path)
    for path, store in stores.items():
        if store.dtype.name not in _FLOAT_TYPES:
            raise _not_float(path, store.dtype.name)
    if check is not None:
        shapes = {path: array.shape for path, array in arrays.items()}
        check(shapes | {path: tuple(store.shape) for path, store in stores.items()})
    reading = {path: store.read(order="C") for path, store in stores.items()}
    for path, future in reading.items():
        arrays[path] = _as_float32(_wait(future, path), path)
    return dict(sorted(arrays.items()))


def _read_index(folder: Path) -> dict[str, Any]:
    """Read the leaves of the parameter tree by path: arrays, or TensorStore specs as dicts."""
    file = folder / INDEX_NAME
    try:
        content = file.read_bytes()
    except (FileNotFoundError, NotADirectoryError) as error:
        raise CheckpointNotFoundError(
            f"{folder} has no file {INDEX_NAME!r}; expected a T5X checkpoint folder. "
            "Name the folder that contains it"
        ) from error
    except OSError as error:
        raise CheckpointContentError(
            f"{file} cannot be read ({error.strerror}); give this user permission to read it"
        ) from error
    try:
        index: Any = msgpack.unpackb(content, ext_hook=_unpack_array, strict_map_key=False)
    except (*_DAMAGE, RecursionError) as error:
        raise CheckpointContentError(
            f"{file} ({len(content)} bytes) is not a readable msgpack index ({error}); "
            "fetch the checkpoint again"
        ) from error
    version = index.get("version", _VERSION) if isinstance(index, dict) else None
    if version != _VERSION:
        raise CheckpointContentError(
            f"{file} has index version {version!r}; expected {_VERSION}, a T5X checkpoint"
        )
    optimizer = index.get("optimizer")
    target = optimizer.get("target") if isinstance(optimizer, dict) else index.get("target")
    if not isinstance(target, dict) or not target:
        raise CheckpointContentError(
            f"{file} has no parameter tree; expected one at 'optimizer.target' or 'target', "
            f"found the keys {sorted(map(str, index))}"
        )
    return _flatten(target)


def _unpack_array(code: int, data: bytes) -> Any:
    """Unpack an extension of msgpack: an array, or, for any other code, the unread bytes."""
    if code != _ARRAY:
        return msgpack.ExtType(code, data)
    shape, dtype, content = msgpack.unpackb(data, raw=True)
    is_bfloat16 = dtype == b"bfloat16"  # which NumPy does not know by name
    return np.frombuffer(content, ml_dtypes.bfloat16 if is_bfloat16 else dtype).reshape(shape)


def _flatten(tree: dict[str, Any]) -> dict[str, Any]:
    """Flatten nested dicts to leaves by path; a dict with a `driver` is a TensorStore spec."""
    leaves: dict[str, Any] = {}
    pending = [(str(name), node) for name, node in tree.items()]
    while pending:
        path, node = pending.pop()
        if isinstance(node, dict) and "driver" not in node:
            pending.extend((f"{path}/{name}", child) for name, child in node.items())
        else:
            leaves[path] = node
    return dict(sorted(leaves.items()))


def _open_array(folder: Path, path: str, leaf: dict[str, Any]) -> Any:
    """Start opening the zarr folder of one array; return TensorStore's future."""
    kvstore = leaf.get("kvstore")
    array_folder = kvstore.get("path") if isinstance(kvstore, dict) else leaf.get("path")
    if leaf.get("driver") != "zarr" or not isinstance(array_folder, str):
        raise CheckpointContentError(
            f"{path}: the index gives the driver {leaf.get('driver')!r} and the folder "
            f"{array_folder!r}; expected 'zarr' and a folder's name"
        )
    _check_array_folder(path, array_folder)
    spec = {
        "driver": "zarr",
        "kvstore": {"driver": "file", "path": f"{folder.resolve() / array_folder}/"},
        # By default zarr reads a missing chunk as zeros.
        "fill_missing_data_reads": False,
    }
    try:
        return tensorstore.open(spec, open=True, read=True)
    except _DAMAGE as error:
        raise _unreadable(path, error) from error


def _check_array_folder(path: str, name: str) -> None:
    parts = PurePosixPath(name).parts
    if not parts or name.startswith("/") or "\\" in name or ".." in parts or "\0" in name:
        raise CheckpointContentError(
            f"{path}: the index places the array at {name!r}, outside the checkpoint; "
            "expected a folder in it. Do not use this checkpoint"
        )


def _wait(future: Any, path: str) -> Any:
    try:
        return future.result()
    except _DAMAGE as error:
        raise _unreadable(path, error) from error


def _as_float32(value: Any, path: str) -> np.ndarray:
    if not isinstance(value, np.ndarray):
        raise CheckpointContentError(
            f"{path}: the index contains a {type(value).__name__}; expected an array or the "
            "TensorStore spec of one"
        )
    if value.dtype.name not in _FLOAT_TYPES:
        raise _not_float(path, value.dtype.name)
    return np.asarray(value, dtype=np.float32, order="C")


def _not_float(path: str, found: str) -> CheckpointContentError:
    return CheckpointContentError(f"{path}: found dtype {found}; expected one of {_FLOAT_TYPES}")


def _unreadable(path: str, error: Exception) -> CheckpointContentError:
    reason = str(error).split(" [", 1)[0][:300]
    return CheckpointContentError(
        f"{path}: its zarr folder is missing or damaged ({reason}); fetch the checkpoint again"
    )
