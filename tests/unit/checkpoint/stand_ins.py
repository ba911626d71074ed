"""Small models with random parameters, and T5X checkpoint folders of them."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import tensorstore
from flax import serialization

from mt3_model.network.params import parameter_shapes
from mt3_model.spec import MT3, ModelSpec, NetworkSpec

TINY_NETWORK = NetworkSpec(
    vocabulary_size=24,
    width=8,
    heads=2,
    head_width=3,
    mlp_width=10,
    encoder_layers=2,
    decoder_layers=1,
    input_width=5,
)
TINY = dataclasses.replace(MT3, name="tiny", network=TINY_NETWORK)


def draw_arrays(spec: ModelSpec, seed: int = 0) -> dict[str, np.ndarray]:
    """Return every parameter of a spec, standard normal."""
    random = np.random.default_rng(seed)
    return {
        path: random.standard_normal(shape, dtype=np.float32)
        for path, shape in parameter_shapes(spec.network).items()
    }


def write_t5x(arrays: Mapping[str, np.ndarray], folder: Path) -> None:
    """Write float32 arrays as a T5X checkpoint folder: vectors in the index, the rest as zarr."""
    folder.mkdir(parents=True)
    target: dict[str, Any] = {}
    writing: list[Any] = []
    for path in sorted(arrays):
        array = np.asarray(arrays[path], dtype=np.float32, order="C")
        *parents, name = path.split("/")
        node = target
        for parent in parents:
            node = node.setdefault(parent, {})
        if array.ndim <= 1:
            node[name] = array
            continue
        node[name] = _array_spec(path, array)
        spec = {
            "driver": "zarr",
            "kvstore": {
                "driver": "file",
                "path": f"{folder.resolve() / node[name]['kvstore']['path']}/",
            },
            "metadata": node[name]["metadata"],
            "store_data_equal_to_fill_value": True,
        }
        writing.append(tensorstore.open(spec, create=True, open=True).result().write(array))
    for future in writing:
        future.result()
    index = {"version": 3, "optimizer": {"target": target, "state": {"step": 0}}}
    (folder / "checkpoint").write_bytes(serialization.msgpack_serialize(index))


def _array_spec(path: str, array: np.ndarray) -> dict[str, Any]:
    """Return a large array's entry in the index. Source: the published `mt3` checkpoint."""
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
