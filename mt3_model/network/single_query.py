"""Attention from one token per row to cached columns, and writing a row's new column.

XLA compiles these functions to two products, a softmax and a scatter. A CPU in bfloat16 uses
`mt3_model/cpu` instead, because XLA has no fast programs for it (deploy/decisions/0007).
"""

from typing import Literal

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float32, Int32

from mt3_model.network.cache import KeysValues
from mt3_model.network.layers import product

CachedAttention = Literal["xla", "triton"]
"""The implementation of `attend_cached`: XLA, or one program on an NVIDIA GPU
(`gpu_attention.py`)."""
MASKED = -1e10
"""Added to the logits of masked columns. Source: magenta/mt3 layers.py:330."""


def attend_cached(
    query: Float32[Array, "R H K"], cached: KeysValues, used: Int32[Array, "R"]
) -> Float32[Array, "R H K"]:
    """Compute softmax attention from each row's query to the row's first columns.

    Args:
        query: ``[R, H, K]``, one query per row.
        cached: Keys and values ``[R, H, C, K]``.
        used: ``[R]``, the number of columns that each row sees, 1 .. C.

    Returns:
        ``[R, H, K]`` in float32.
    """
    logits = product("rhk,rhck->rhc", query, cached.keys, cached.keys.dtype)
    visible = jnp.arange(logits.shape[-1]) < used[:, None, None]
    weights = jax.nn.softmax(logits + jnp.where(visible, 0.0, MASKED))
    return product("rhc,rhck->rhk", weights, cached.values, cached.values.dtype)


def write_column(past: KeysValues, new: KeysValues, positions: Int32[Array, "R"]) -> KeysValues:
    """Write one new column per row at the row's position; in place if ``past`` is donated.

    Args:
        past: Keys and values ``[R, H, C, K]``.
        new: Keys and values ``[R, H, 1, K]``, rounded to the precision of ``past``.
        positions: ``[R]``, the column of each row; a position after the last column writes nothing.

    Returns:
        Keys and values ``[R, H, C, K]``.
    """
    rows = jnp.arange(positions.shape[0])

    def write(into: Array, column: Array) -> Array:
        return into.at[rows, :, positions].set(column[:, :, 0], mode="drop")

    return jax.tree.map(write, past, new.astype(past.keys.dtype))
