"""Random cases of attention to cached columns, and their answers in float64."""

import jax.numpy as jnp
import numpy as np

from mt3_model.network.cache import KeysValues


def make_case(rows, heads, columns, width, dtype=jnp.bfloat16):
    random = np.random.default_rng(rows * columns)

    def draw(*shape):
        return jnp.asarray(random.standard_normal(shape), jnp.float32)

    kept = KeysValues(
        keys=draw(rows, heads, columns, width), values=draw(rows, heads, columns, width)
    )
    used = jnp.asarray(random.integers(1, columns + 1, rows), jnp.int32)
    return draw(rows, heads, width), kept.astype(dtype), used


def written_out(query, kept, used):
    """In float64, row by row."""
    keys, values = (np.asarray(a.astype(jnp.float32), np.float64) for a in (kept.keys, kept.values))
    answer = np.zeros(query.shape)
    for row, columns in enumerate(used.tolist()):
        for head in range(query.shape[1]):
            logits = keys[row, head, :columns] @ np.asarray(query[row, head], np.float64)
            weights = np.exp(logits - logits.max())
            answer[row, head] = weights @ values[row, head, :columns] / weights.sum()
    return answer
