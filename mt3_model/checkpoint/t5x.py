"""A T5X checkpoint folder <-> flat arrays ``{"decoder/layers_0/mlp/wi_0/kernel": float32}``.

The folder holds one msgpack index named `checkpoint` (version 3) and one zarr folder for each large
array. In the index, `optimizer.target` (newer T5X: `target`) is the parameter tree: a leaf is
either a small array itself or a TensorStore spec, a dict whose `kvstore.path` names the array's
folder relative to the checkpoint. Both are read with the libraries that T5X writes them with (Flax
serialization and TensorStore), all arrays at once. Nothing here knows the network: names and
shapes are what the folder says, offered to the caller before anything large is read.

A checkpoint is a file from elsewhere, so whatever is wrong with it (a corrupt index, a missing or
truncated chunk, a path that leaves the folder) is a `CheckpointContentError` that names the array.
Source: google-research/t5x cc342d4, checkpoints.py (`_read_ts`, `_maybe_update_ts_from_*`).
"""

import shutil
from collections.abc import Callable, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import tensorstore
from flax import serialization

from mt3_model.errors import CheckpointContentError, CheckpointNotFoundError

INDEX_NAME = "checkpoint"
"""The index's file name; a folder that holds it is taken for a T5X checkpoint."""

Shapes = Mapping[str, tuple[int, ...]]
FlatArrays = dict[str, np.ndarray]

_VERSION = 3
# What TensorStore and msgpack raise on a damaged file; the original error goes along as the cause.
_DAMAGE = (ValueError, TypeError, KeyError, AttributeError, AssertionError, OSError, OverflowError)
_FLOAT_TYPES = ("float32", "bfloat16", "float16")


def read_t5x(folder: Path, *, check: Callable[[Shapes], None] | None = None) -> FlatArrays:
    """Reads every parameter of a T5X checkpoint folder.

    Args:
        folder: The folder that holds `checkpoint` and the arrays' folders.
        check: Is called with the shape of every array before the large ones are read, and may
            raise: a folder of another model is refused before it fills the memory.

    Returns:
        Path -> float32 array, C order, in sorted order of the paths.

    Raises:
        CheckpointNotFoundError: There is no index in the folder.
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


def write_t5x(arrays: Mapping[str, np.ndarray], folder: Path) -> None:
    """Writes float32 arrays as a T5X checkpoint folder: vectors in the index, the rest as zarr.

    The folder appears whole: all is written beside it and renamed at the end.

    Args:
        arrays: Path -> array, as `read_t5x` gives them.
        folder: Where to write; it must not exist.
    """
    if folder.exists():
        raise CheckpointContentError(f"{folder} exists; name a folder that does not, or remove it")
    partial = folder.with_name(folder.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    target: dict[str, Any] = {}
    writing: list[Any] = []
    for path in sorted(arrays):
        array = np.asarray(arrays[path], dtype=np.float32, order="C")
        *parents, name = path.split("/")
        node = target
        for parent in parents:
            node = node.setdefault(parent, {})
        if array.ndim <= 1:  # vectors lie in the index, matrices beside it
            node[name] = array
            continue
        node[name] = _placeholder(path, array)
        spec = _store_spec(partial, node[name]["kvstore"]["path"])
        spec["metadata"] = node[name]["metadata"]
        writing.append(
            tensorstore.open(spec, create=True, open=True).result().write(array)  # pyright: ignore
        )
    for future in writing:
        future.result()
    # The step is not ours to know; T5X asks for an optimizer state only where it trains on.
    index = {"version": _VERSION, "optimizer": {"target": target, "state": {"step": 0}}}
    (partial / INDEX_NAME).write_bytes(serialization.msgpack_serialize(index))
    partial.rename(folder)


def _read_index(folder: Path) -> dict[str, Any]:
    """The parameter tree's leaves by path: arrays, or TensorStore specs as dicts."""
    file = folder / INDEX_NAME
    try:
        content = file.read_bytes()
    except (FileNotFoundError, NotADirectoryError) as error:
        raise CheckpointNotFoundError(
            f"{folder} holds no file {INDEX_NAME!r}; expected a T5X checkpoint folder. "
            "Give the folder that holds it"
        ) from error
    except OSError as error:
        raise CheckpointContentError(
            f"{file} cannot be read ({error.strerror}); let this user read it"
        ) from error
    try:
        index: Any = serialization.msgpack_restore(content)
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


def _flatten(tree: dict[str, Any]) -> dict[str, Any]:
    """Nested dicts -> leaves by path; a dict with a `driver` is a TensorStore spec, a leaf."""
    leaves: dict[str, Any] = {}
    waiting = [(str(name), node) for name, node in tree.items()]
    while waiting:
        path, node = waiting.pop()
        if isinstance(node, dict) and "driver" not in node:
            waiting.extend((f"{path}/{name}", child) for name, child in node.items())
        else:
            leaves[path] = node
    return dict(sorted(leaves.items()))


def _open_array(folder: Path, path: str, leaf: dict[str, Any]) -> Any:
    """Starts opening one array's folder; the spec gives its place, the zarr folder its form."""
    kvstore = leaf.get("kvstore")
    place = kvstore.get("path") if isinstance(kvstore, dict) else leaf.get("path")
    if leaf.get("driver") != "zarr" or not isinstance(place, str):
        raise CheckpointContentError(
            f"{path}: the index gives the driver {leaf.get('driver')!r} and the place {place!r}; "
            "expected 'zarr' and a folder's name"
        )
    parts = PurePosixPath(place).parts
    if not parts or place.startswith("/") or "\\" in place or ".." in parts or "\0" in place:
        raise CheckpointContentError(
            f"{path}: the index places the array at {place!r}, outside the checkpoint; "
            "expected a folder in it. Do not use this checkpoint"
        )
    try:
        return tensorstore.open(_store_spec(folder, place), open=True, read=True)
    except _DAMAGE as error:
        raise _unreadable(path, error) from error


def _store_spec(folder: Path, place: str) -> dict[str, Any]:
    return {
        "driver": "zarr",
        "kvstore": {"driver": "file", "path": f"{folder.resolve() / place}/"},
        # Zarr reads a missing chunk as zeros; here that is a checkpoint with a hole in it.
        "fill_missing_data_reads": False,
        "store_data_equal_to_fill_value": True,
    }


def _placeholder(path: str, array: np.ndarray) -> dict[str, Any]:
    """What the index says in place of a large array. Source: the published `mt3` checkpoint."""
    shape = list(array.shape)
    return {
        "driver": "zarr",
        "dtype": "float32",
        "kvstore": {"driver": "gfile", "path": f"target.{path.replace('/', '.')}/"},
        "metadata": {
            "chunks": shape,
            "compressor": {"id": "gzip", "level": 1},
            "dtype": "<f4",
            "shape": shape,
        },
        "transform": {
            "input_exclusive_max": [[size] for size in shape],
            "input_inclusive_min": [0] * len(shape),
        },
    }


def _wait(future: Any, path: str) -> Any:
    try:
        return future.result()
    except _DAMAGE as error:
        raise _unreadable(path, error) from error


def _as_float32(value: Any, path: str) -> np.ndarray:
    if not isinstance(value, np.ndarray):
        raise CheckpointContentError(
            f"{path}: the index holds a {type(value).__name__}; expected an array or the "
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
