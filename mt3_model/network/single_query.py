"""The kept columns of a generation step: each row writes one and its query attends to all.

XLA's CPU backend has no good programs for it in bfloat16. It multiplies one query with bfloat16
keys by converting them one by one (1.4 GB/s where memory gives 35), writes one column by converting
the whole cache to float32 and back, and reads every column that there is room for. So on CPUs,
bfloat16 keys and values are read and written by kernels of our own: they convert in registers, read
the columns of each row that are in use and no others, and reach the speed of memory
(deploy/decisions/0005 has the figures). Anywhere else, and in float32, it is two products, a
softmax and a scatter, which XLA compiles well.

The kernels are Python that numba compiles (no compiler is needed on the machine) and that XLA calls
through its foreign function interface: C functions that are handed a "call frame". The frame's
layout is that of `xla/ffi/api/c_api.h`, which comes with jaxlib; XLA keeps it stable within a major
version, and `_api_version` refuses another.
"""

import ctypes
import functools
import itertools
import os
import re
from pathlib import Path

import jax
import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Array, Float32, Int32

from mt3_model.network.cache import KeysValues
from mt3_model.network.layers import product

MASKED = -1e10
"""Added to the logits of columns that may not be seen. Source: magenta/mt3 layers.py:330."""
_ATTEND, _WRITE = "mt3_single_query", "mt3_write_column"
_API_MAJOR = 0
_PARTS_PER_CORE = 8
_MOST_PARTS = 32
"""A few cores read as fast as memory gives; each call costs a program some time to compile."""


def attend_to_kept(
    query: Float32[Array, "R H K"], kept: KeysValues, used: Int32[Array, "R"]
) -> Float32[Array, "R H K"]:
    """Softmax attention of each row's query over its first ``used`` columns.

    Args:
        query: Of each row.
        kept: Keys and values ``[R, H, C, K]``.
        used: Columns that each row sees, 1 .. C. It need not be read further.
    """
    if kept.keys.dtype != jnp.bfloat16:
        return _by_xla(query, kept, used)
    return jax.lax.platform_dependent(query, kept, used, cpu=_by_kernel, default=_by_xla)


def prepare_kernels(dtype: DTypeLike) -> None:
    """Compiles now, if this process will need them, what the first program would wait for."""
    if dtype == jnp.bfloat16 and jax.default_backend() == "cpu":
        _register()


def _by_xla(
    query: Float32[Array, "R H K"], kept: KeysValues, used: Int32[Array, "R"]
) -> Float32[Array, "R H K"]:
    logits = product("rhk,rhck->rhc", query, kept.keys, kept.keys.dtype)
    seen = jnp.arange(logits.shape[-1]) < used[:, None, None]
    weights = jax.nn.softmax(logits + jnp.where(seen, 0.0, MASKED))
    return product("rhc,rhck->rhk", weights, kept.values, kept.values.dtype)


def _by_kernel(
    query: Float32[Array, "R H K"], kept: KeysValues, used: Int32[Array, "R"]
) -> Float32[Array, "R H K"]:
    """One call for each part of all rows' heads, which the cores share.

    XLA's executor runs calls that are ready one after the other on one core, unless there are more
    than eight: then it hands half of them on. So each core has eight.
    """
    _register()
    rows, heads, width = query.shape
    parts = min(rows * heads, _PARTS_PER_CORE * (os.cpu_count() or 1), _MOST_PARTS)
    bounds = [rows * heads * part // parts for part in range(parts + 1)]
    answers = [
        jax.ffi.ffi_call(_ATTEND, jax.ShapeDtypeStruct((end - start, width), jnp.float32))(
            query, kept.keys, kept.values, used, jnp.array([start], jnp.int32)
        )
        for start, end in itertools.pairwise(bounds)
    ]
    return jnp.concatenate(answers).reshape(rows, heads, width)


def write_column(past: KeysValues, new: KeysValues, positions: Int32[Array, "R"]) -> KeysValues:
    """Writes each row's one new column at its own position, in place where the past is donated.

    Args:
        past: Keys and values ``[R, H, C, K]``.
        new: The same with one column; rounded to the past's precision.
        positions: Column of each row; a row whose position is past the last is left as it is.
    """
    new = new.astype(past.keys.dtype)
    if past.keys.dtype != jnp.bfloat16:
        return _write_by_xla(past, new, positions)
    return jax.lax.platform_dependent(
        past, new, positions, cpu=_write_by_kernel, default=_write_by_xla
    )


def _write_by_xla(past: KeysValues, new: KeysValues, positions: Int32[Array, "R"]) -> KeysValues:
    rows = jnp.arange(positions.shape[0])

    def write(into: Array, column: Array) -> Array:
        return into.at[rows, :, positions].set(column[:, :, 0], mode="drop")

    return jax.tree.map(write, past, new)


def _write_by_kernel(past: KeysValues, new: KeysValues, positions: Int32[Array, "R"]) -> KeysValues:
    _register()
    shape = jax.ShapeDtypeStruct(past.keys.shape, past.keys.dtype)
    write = jax.ffi.ffi_call(_WRITE, (shape, shape), input_output_aliases={0: 0, 1: 1})
    keys, values = write(past.keys, past.values, new.keys, new.values, positions)
    return KeysValues(keys=keys, values=values)


@functools.cache
def _register() -> None:
    """Compiles the kernels (2 s, kept by numba between runs) and tells XLA of them."""
    from mt3_model.network import single_query_kernel  # noqa: PLC0415 (numba: 0.5 s)

    major, minor = _api_version()
    if major != _API_MAJOR:
        raise NotImplementedError(
            f"jaxlib's foreign function interface has version {major}.{minor}; the CPU kernel knows"
            f" {_API_MAJOR}. Install the locked jaxlib, or use precision float32"
        )
    new_capsule = ctypes.pythonapi.PyCapsule_New
    new_capsule.restype = ctypes.py_object
    new_capsule.argtypes = [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p]
    for target, handler in (
        (_ATTEND, single_query_kernel.attend_handler),
        (_WRITE, single_query_kernel.write_handler),
    ):
        capsule = new_capsule(handler.address, None, None)
        jax.ffi.register_ffi_target(target, capsule, platform="cpu")


def _api_version() -> tuple[int, int]:
    """Of the header that comes with jaxlib: the kernel must be built for what XLA runs."""
    header = (Path(jax.ffi.include_dir()) / "xla/ffi/api/c_api.h").read_text(encoding="utf-8")
    numbers = {
        name: int(number)
        for name, number in re.findall(r"#define XLA_FFI_API_(MAJOR|MINOR) (\d+)", header)
    }
    return numbers["MAJOR"], numbers["MINOR"]
