"""The two precisions of the network's products, and the parameters stored for each.

    float32    the original's: its tokens, exactly
    bfloat16   operands rounded to 8 bits of mantissa, summed in float32 (`network/layers.product`)

`mt3_model/hardware.py` chooses one of them where the setting is ``auto``.
"""

from typing import Any

import jax
import jax.numpy as jnp
from jax.typing import DTypeLike

from mt3_model.notes.transcription import Precision


def operand_dtype(precision: Precision) -> DTypeLike:
    """Return the dtype of the operands of products."""
    return jnp.bfloat16 if precision == "bfloat16" else jnp.float32


def stored_parameters(parameters: Any, precision: Precision) -> Any:
    """Return the parameters as the products read them: kernels rounded once, the rest as it is."""
    dtype = operand_dtype(precision)

    def store(path: tuple[Any, ...], array: Any) -> Any:
        return jnp.asarray(array, dtype) if path[-1].key == "kernel" else array

    return jax.tree_util.tree_map_with_path(store, parameters)
