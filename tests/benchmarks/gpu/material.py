"""Files for the machine with the accelerator: weights, recordings, expected tokens.

    weights-1.safetensors, weights-2.safetensors   the parameters, bfloat16 as its 16 bits
    material.npz                                   the clips' samples and the CPU's tokens for them
    manifest.json                                  bytes and sha256 of each, and the origin

Two parts, because a copy of the tree may be limited to less than the whole: each is under 48 MB.
The weights are rounded to bfloat16 once, here, and both sides compute with the rounded ones (in
float32 or bfloat16), so that tokens can be compared exactly. For the same reason the samples are
16-bit integers: of the golden recordings they are the file's own, of the others a rounding that
both sides see.
"""

import dataclasses
import hashlib
import json
import pathlib
from typing import Any

import ml_dtypes
import numpy as np
from safetensors import numpy as safetensors_numpy

from mt3_model.checkpoint.loading import flatten_parameters, nest_arrays
from mt3_model.spec import ModelSpec
from mt3_model.spectrogram.segments import Segment, split_segments

PART_FILES = ("weights-1.safetensors", "weights-2.safetensors")
MATERIAL_FILE = "material.npz"
MANIFEST_FILE = "manifest.json"
FULL_SCALE = 32_768
"""A sample of 1.0 as a 16-bit integer, as libsndfile reads it."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Expected:
    """The CPU's tokens for one segment, greedy and in float32."""

    tokens: np.ndarray
    """int32 ``[L]``, up to and including the end token."""
    rivals: np.ndarray
    """int32 ``[L, K]``: the next most probable tokens at each step, best first."""
    gaps: np.ndarray
    """float32 ``[L, K]``: the chosen token's logit less each rival's."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Clip:
    """One recording with its expected segments."""

    name: str
    samples: np.ndarray
    """int16 ``[N]`` at the spec's rate, mono."""
    dense: bool
    """Whether the hours use it: the first dense clip is the song, all are the varied music."""
    expected: tuple[Expected, ...]

    def segments(self, spec: ModelSpec) -> list[Segment]:
        """Split into segments, with the same samples on every machine, bit for bit."""
        return list(split_segments([self.samples.astype(np.float32) / FULL_SCALE], spec))


def round_parameters(parameters: dict[str, Any]) -> dict[str, Any]:
    """Return the tree with every number rounded to bfloat16, as float32."""
    return nest_arrays(
        {
            path: np.asarray(array).astype(ml_dtypes.bfloat16).astype(np.float32)
            for path, array in flatten_parameters(parameters).items()
        }
    )


def write_parameters(parameters: dict[str, Any], folder: pathlib.Path) -> None:
    """Write the tree in parts of about equal size; reject numbers that bfloat16 cannot hold."""
    flat = flatten_parameters(parameters)
    parts = divide({path: array.size for path, array in flat.items()})
    for paths, name in zip(parts, PART_FILES, strict=True):
        part: dict[str, np.ndarray] = {}
        for path in paths:
            bits = flat[path].astype(ml_dtypes.bfloat16)
            if not np.array_equal(bits.astype(np.float32), flat[path]):
                raise ValueError(f"{path} is not rounded to bfloat16; call round_parameters first")
            part[path] = bits.view(np.uint16)
        safetensors_numpy.save_file(part, folder / name, metadata={"uint16": "bfloat16"})


def divide(sizes: dict[str, int]) -> list[list[str]]:
    """Distribute paths over the parts: the largest first, each to the smallest part."""
    parts: list[list[str]] = [[] for _ in PART_FILES]
    for path in sorted(sizes, key=lambda path: (-sizes[path], path)):
        min(parts, key=lambda part: sum(sizes[p] for p in part)).append(path)
    return parts


def read_parameters(folder: pathlib.Path) -> dict[str, Any]:
    """Read the tree of both parts, float32."""
    flat: dict[str, np.ndarray] = {}
    for name in PART_FILES:
        for path, bits in safetensors_numpy.load_file(folder / name).items():
            flat[path] = bits.view(ml_dtypes.bfloat16).astype(np.float32)
    return nest_arrays(flat)


def write_clips(clips: list[Clip], folder: pathlib.Path) -> None:
    """Write all clips as one file."""
    arrays: dict[str, np.ndarray] = {
        "names": np.array([clip.name for clip in clips]),
        "dense": np.array([clip.dense for clip in clips]),
    }
    for number, clip in enumerate(clips):
        arrays |= {
            f"{number}/samples": clip.samples,
            f"{number}/lengths": np.array([len(e.tokens) for e in clip.expected], np.int32),
            f"{number}/tokens": np.concatenate([e.tokens for e in clip.expected]).astype(np.int16),
            f"{number}/rivals": np.concatenate([e.rivals for e in clip.expected]).astype(np.int16),
            f"{number}/gaps": np.concatenate([e.gaps for e in clip.expected]),
        }
    np.savez_compressed(folder / MATERIAL_FILE, allow_pickle=False, **arrays)


def read_clips(folder: pathlib.Path) -> list[Clip]:
    """Read the clips that `write_clips` wrote."""
    with np.load(folder / MATERIAL_FILE, allow_pickle=False) as arrays:
        return [
            Clip(
                name=str(name),
                samples=arrays[f"{number}/samples"],
                dense=bool(arrays["dense"][number]),
                expected=_split_expected(arrays, number),
            )
            for number, name in enumerate(arrays["names"])
        ]


def write_manifest(folder: pathlib.Path, origin: dict[str, Any]) -> None:
    """Write the checksums of the files and the origin of the material."""
    files = {name: describe_file(folder / name) for name in (*PART_FILES, MATERIAL_FILE)}
    text = json.dumps({"origin": origin, "files": files}, indent=1)
    (folder / MANIFEST_FILE).write_text(text + "\n")


def read_manifest(folder: pathlib.Path) -> dict[str, Any]:
    """Read the manifest, with ``origin`` and ``files``."""
    return json.loads((folder / MANIFEST_FILE).read_text())


def describe_file(path: pathlib.Path) -> dict[str, Any]:
    """Return a file's size in bytes and its sha256."""
    content = path.read_bytes()
    return {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}


def _split_expected(arrays: Any, number: int) -> tuple[Expected, ...]:
    ends = np.cumsum(arrays[f"{number}/lengths"])[:-1]
    tokens, rivals, gaps = (
        np.split(arrays[f"{number}/{name}"], ends) for name in ("tokens", "rivals", "gaps")
    )
    return tuple(
        Expected(tokens=t.astype(np.int32), rivals=r.astype(np.int32), gaps=g)
        for t, r, g in zip(tokens, rivals, gaps, strict=True)
    )
