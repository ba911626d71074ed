"""Attention from one token per row to cached columns, as one program of a GPU.

XLA computes it as two products with a softmax between them: three programs, which read every
column of the cache. This one reads each row's own columns, once, and starts once. Sums over columns
are made in blocks from the first, so that the result depends neither on the number of rows nor on
the cache's length: the same bits in every bucket.

In self-attention the same program also writes the row's new column. On a GPU a step of few rows
takes as long as its programs take to start, so each program that is saved makes it faster.

One program of the grid serves one head of one row. The softmax is computed as the columns arrive
(Milakov and Gimelshein 2018, https://arxiv.org/abs/1805.02867, algorithm 3).
"""

import functools
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.experimental import pallas as pl
from jax.experimental.pallas import triton
from jaxtyping import Array, Float, Float32, Int32

from mt3_model.network.cache import KeysValues

_LOWEST = -1e30
"""Stands for minus infinity, whose differences are not numbers."""


class _Tile(NamedTuple):
    """The columns of a head that are read at once."""

    columns: int
    warps: int
    """Groups of 32 threads that share them."""

    def fit(self, columns: int) -> "_Tile":
        """Return the tile for C columns, so that the last one ends with them."""
        return self._replace(columns=math.gcd(columns, self.columns))


_CACHED = _Tile(columns=128, warps=4)
_PAST = _Tile(columns=64, warps=1)
"""The fastest of ten pairs on one NVIDIA H200 (28 November 2026, bfloat16). Of a segment's 256
columns: 6.0, 12.1, 27.9 and 52.1 us for 64, 128, 256 and 512 rows (blocks of 32 columns and one
warp: 11.1, 22.0, 29.3 and 50.9). Of 96 columns of the past: 8.8, 12.3, 19.0 and 33.2 us (10.5,
12.9, 17.8 and 32.1; four warps on 128 columns: 8.4, 14.2, 23.7 and 40.0)."""


def attend_cached(
    query: Float32[Array, "R H K"],
    cached: KeysValues,
    used: Int32[Array, "R"],
    *,
    interpret: bool = False,
) -> Float[Array, "R H K"]:
    """Compute softmax attention from each row's query to the row's first columns.

    Args:
        query: ``[R, H, K]``, one query per row; rounded to the precision of the cache.
        cached: Keys and values ``[R, H, C, K]``.
        used: ``[R]``, the number of columns that each row sees; 0 gives zeros, and more than C
            counts as C.
        interpret: Run on any device, slowly, as a test does.

    Returns:
        ``[R, H, K]`` in the precision of the cache, as the next product wants it.
    """
    rows, heads, columns, width = cached.keys.shape
    tile = _CACHED.fit(columns)
    program = pl.pallas_call(
        functools.partial(_attend, block=tile.columns),
        grid=(rows, heads),
        in_specs=[_of_row(), _of_head(width), _columns(cached), _columns(cached)],
        out_specs=_of_head(width),
        out_shape=jax.ShapeDtypeStruct(query.shape, cached.keys.dtype),
        compiler_params=_compiler_options(tile),
        interpret=interpret,
        name="attend_cached",
    )
    return program(jnp.minimum(used, columns), query, cached.keys, cached.values)


def attend_past(
    joined: Float32[Array, "R 3 H K"],
    past: KeysValues,
    positions: Int32[Array, "R"],
    *,
    interpret: bool = False,
) -> tuple[Float[Array, "R H K"], KeysValues]:
    """Write one new column per row, and attend from the row's query to it and those before.

    Args:
        joined: ``[R, 3, H, K]``, the query, key and value of each row; rounded to the precision of
            the cache.
        past: Keys and values ``[R, H, C, K]``; overwritten.
        positions: ``[R]``, the column of each row. At C or after, where only a free row can be,
            nothing is written, and all columns are used.
        interpret: Run on any device, slowly, as a test does.

    Returns:
        ``[R, H, K]`` in the precision of the cache, and ``past`` with the new columns.
    """
    rows, heads, columns, width = past.keys.shape
    tile = _PAST.fit(columns)
    dtype = past.keys.dtype
    parts = [_part_of_head(number, width) for number in range(3)]
    program = pl.pallas_call(
        functools.partial(_attend_past, block=tile.columns),
        grid=(rows, heads),
        in_specs=[_of_row(), *parts, _columns(past), _columns(past)],
        out_specs=[_of_head(width), _columns(past), _columns(past)],
        out_shape=[
            jax.ShapeDtypeStruct((rows, heads, width), dtype),
            jax.ShapeDtypeStruct(past.keys.shape, dtype),
            jax.ShapeDtypeStruct(past.values.shape, dtype),
        ],
        input_output_aliases={4: 1, 5: 2},
        compiler_params=_compiler_options(tile),
        interpret=interpret,
        name="attend_past",
    )
    mixed, keys, values = program(positions, joined, joined, joined, past.keys, past.values)
    return mixed, KeysValues(keys=keys, values=values)


def _compiler_options(tile: _Tile) -> triton.CompilerParams:
    return triton.CompilerParams(num_warps=tile.warps, num_stages=2)


def _of_row() -> pl.BlockSpec:
    """Return the place of a row's number in ``[R]``."""
    return _place((None,), lambda row, _: (row,))


def _of_head(width: int) -> pl.BlockSpec:
    """Return the place of a head's vector in ``[R, H, K]``."""
    return _place((None, None, width), lambda row, head: (row, head, 0))


def _part_of_head(number: int, width: int) -> pl.BlockSpec:
    """Return the place of a head's query, key or value in ``[R, 3, H, K]``."""
    return _place((None, None, None, width), lambda row, head: (row, number, head, 0))


def _columns(cached: KeysValues) -> pl.BlockSpec:
    """Return the place of a head's columns in ``[R, H, C, K]``."""
    _, _, columns, width = cached.keys.shape
    return _place((None, None, columns, width), lambda row, head: (row, head, 0, 0))


def _place(
    shape: tuple[int | None, ...], begin: Callable[[Any, Any], tuple[Any, ...]]
) -> pl.BlockSpec:
    """Return where the block of a row and a head lies: its shape, and where it begins."""
    return pl.BlockSpec(shape, begin)


def _attend(
    used_ref: Any, query_ref: Any, keys_ref: Any, values_ref: Any, out_ref: Any, *, block: int
) -> None:
    """Compute one head of one row, ``out [K]``, from its keys and values ``[C, K]``."""
    query = query_ref[...].astype(keys_ref.dtype).astype(jnp.float32)

    load_keys, load_values = (functools.partial(_load, ref) for ref in (keys_ref, values_ref))
    mixed = _mix(query, used_ref[...], load_keys, load_values, block=block)
    out_ref[...] = mixed.astype(out_ref.dtype)


def _attend_past(  # noqa: PLR0917 (Pallas passes arrays by position)
    position_ref: Any,
    query_ref: Any,
    key_ref: Any,
    value_ref: Any,
    _past_keys_ref: Any,
    _past_values_ref: Any,
    out_ref: Any,
    keys_ref: Any,
    values_ref: Any,
    *,
    block: int,
) -> None:
    """Compute one head of one row, as `_attend`, with the new column at its position."""
    position, columns, dtype = position_ref[...], keys_ref.shape[0], keys_ref.dtype

    def put(ref: Any, new_ref: Any) -> Any:
        """Write the new column; return a loader that does not wait for it to be written."""
        new = new_ref[...].astype(dtype)
        is_there = jnp.broadcast_to(position < columns, new.shape)
        triton.store(ref.at[jnp.minimum(position, columns - 1), :], new, mask=is_there)

        def load(first: Any, visible: Array) -> Float32[Array, "B K"]:
            is_new = first + jnp.arange(block) == position
            loaded = _load(ref, first, visible & ~is_new)
            return jnp.where(is_new[:, None], new.astype(jnp.float32)[None, :], loaded)

        return load

    query = query_ref[...].astype(dtype).astype(jnp.float32)
    used = jnp.minimum(position + 1, columns)
    load_keys, load_values = put(keys_ref, key_ref), put(values_ref, value_ref)
    mixed = _mix(query, used, load_keys, load_values, block=block)
    out_ref[...] = mixed.astype(out_ref.dtype)


def _load(ref: Any, first: Any, wanted: Array) -> Float32[Array, "B K"]:
    """Load the wanted ones of a block of columns; the others are zeros, and cost nothing."""
    block, width = len(wanted), ref.shape[1]
    mask = jnp.broadcast_to(wanted[:, None], (block, width))
    return triton.load(ref.at[pl.ds(first, block), :], mask=mask, other=0).astype(jnp.float32)


def _mix(
    query: Array, used: Array, load_keys: Any, load_values: Any, *, block: int
) -> Float32[Array, " K"]:
    """Return the mean of the first ``used`` values, weighted by the softmax of their logits."""

    def add_block(number: Any, carry: tuple[Array, Array, Array]) -> tuple[Array, Array, Array]:
        mixed, total, highest = carry  # [K], [], []
        first = number * block
        visible = first + jnp.arange(block) < used
        keys = load_keys(first, visible)
        logits = jnp.where(visible, jnp.sum(keys * query[None, :], axis=1), _LOWEST)
        higher = jnp.maximum(highest, jnp.max(logits))
        scale = jnp.exp(highest - higher)
        weights = jnp.exp(logits - higher)
        values = load_values(first, visible)
        mixed = mixed * scale + jnp.sum(values * weights[:, None], axis=0)
        return mixed, total * scale + jnp.sum(weights), higher

    start = (jnp.zeros(query.shape, jnp.float32), jnp.float32(0), jnp.float32(_LOWEST))
    blocks = (used + block - 1) // block
    mixed, total, _ = jax.lax.fori_loop(0, blocks, add_block, start)
    return mixed / jnp.maximum(total, 1e-30)
