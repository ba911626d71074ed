"""In which precision the products are computed, and which one suits this machine.

    float32    the original's: its tokens, exactly
    bfloat16   operands rounded to 8 bits of mantissa, summed in float32 (`network/layers.product`)
    auto       bfloat16 where it is measurably faster, else float32

GPUs and TPUs multiply bfloat16 many times faster. Of CPUs only those with AMX or AVX-512 BF16
instructions gain, which no name tells reliably: one product of the network's commonest shape is
timed in both.
"""

import functools
import time
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import DTypeLike

from mt3_model.network.layers import product
from mt3_model.notes.transcription import Precision, PrecisionChoice

WORTH_WHILE = 1.2
"""Times as fast that a bfloat16 product must be on a CPU to be chosen."""
_SHAPE = (1_024, 512, 1_024)
"""Four encoded segments through the first half of an MLP: rows, inputs, outputs."""
_TRIALS = 5


def choose_precision(choice: PrecisionChoice) -> Precision:
    """Resolves ``auto`` for the device that JAX found; takes some 0.1 s on a CPU."""
    if choice != "auto":
        return choice
    if jax.default_backend() != "cpu":
        return "bfloat16"
    gain = _product_seconds("float32") / _product_seconds("bfloat16")
    return "bfloat16" if gain >= WORTH_WHILE else "float32"


def operand_dtype(precision: Precision) -> DTypeLike:
    """Of the operands of products."""
    return jnp.bfloat16 if precision == "bfloat16" else jnp.float32


def stored_parameters(parameters: Any, precision: Precision) -> Any:
    """The parameters as the products want them: kernels rounded once, norms and embedding not."""
    dtype = operand_dtype(precision)

    def store(path: tuple[Any, ...], array: Any) -> Any:
        return jnp.asarray(array, dtype) if path[-1].key == "kernel" else array

    return jax.tree_util.tree_map_with_path(store, parameters)


def _product_seconds(precision: Precision) -> float:
    """The best of a few trials of one product."""
    rows, inputs, outputs = _SHAPE
    dtype = operand_dtype(precision)
    random = np.random.default_rng(0)  # of zeros some machines multiply faster
    left = jnp.asarray(random.standard_normal((rows, inputs)), dtype)
    right = jnp.asarray(random.standard_normal((inputs, outputs)), dtype)
    multiply = jax.jit(functools.partial(product, "ri,io->ro", dtype=dtype))
    multiply(left, right).block_until_ready()
    seconds: list[float] = []
    for _ in range(_TRIALS):
        began = time.perf_counter()
        multiply(left, right).block_until_ready()
        seconds.append(time.perf_counter() - began)
    return min(seconds)
