"""The kept columns of a generation step: each row writes one and its query attends to all.

These are XLA's programs: two products, a softmax and a scatter. A CPU in bfloat16, for which XLA
has no good ones, does not come here (`kernels/`, deploy/decisions/0007).
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float32, Int32

from mt3_model.network.cache import KeysValues
from mt3_model.network.layers import product

MASKED = -1e10
"""Added to the logits of columns that may not be seen. Source: magenta/mt3 layers.py:330."""


def attend_to_kept(
    query: Float32[Array, "R H K"], kept: KeysValues, used: Int32[Array, "R"]
) -> Float32[Array, "R H K"]:
    """Softmax attention of each row's query over its first ``used`` columns.

    Args:
        query: Of each row.
        kept: Keys and values ``[R, H, C, K]``.
        used: Columns that each row sees, 1 .. C.
    """
    logits = product("rhk,rhck->rhc", query, kept.keys, kept.keys.dtype)
    seen = jnp.arange(logits.shape[-1]) < used[:, None, None]
    weights = jax.nn.softmax(logits + jnp.where(seen, 0.0, MASKED))
    return product("rhc,rhck->rhk", weights, kept.values, kept.values.dtype)


def write_column(past: KeysValues, new: KeysValues, positions: Int32[Array, "R"]) -> KeysValues:
    """Writes each row's one new column at its own position, in place where the past is donated.

    Args:
        past: Keys and values ``[R, H, C, K]``.
        new: The same with one column; rounded to the past's precision.
        positions: Column of each row; a row whose position is past the last is left as it is.
    """
    rows = jnp.arange(positions.shape[0])

    def write(into: Array, column: Array) -> Array:
        return into.at[rows, :, positions].set(column[:, :, 0], mode="drop")

    return jax.tree.map(write, past, new.astype(past.keys.dtype))
