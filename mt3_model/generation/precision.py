"""In which precision the products are computed, and which one suits this machine.

    float32    the original's: its tokens, exactly
    bfloat16   operands rounded to 8 bits of mantissa, summed in float32 (`network/layers.product`)
    auto       bfloat16 where it is measurably faster, else float32

GPUs and TPUs multiply bfloat16 many times faster. Of CPUs only those with AMX or AVX-512 BF16
instructions gain, which no name tells reliably: one product of the network's commonest shape is
timed in both.
"""

import functools
import math
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
PRODUCT_SHAPE = (1_024, 512, 1_024)
"""Four encoded segments through the first half of an MLP: rows, inputs, outputs."""
_TRIALS = 8


def choose_precision(choice: PrecisionChoice) -> Precision:
    """Resolves ``auto`` for the device that JAX found; takes some 0.1 s on a CPU."""
    if choice != "auto":
        return choice
    if jax.default_backend() != "cpu":
        return "bfloat16"
    seconds = product_seconds("float32", "bfloat16")
    gain = seconds["float32"] / seconds["bfloat16"]
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


def product_seconds(*precisions: Precision) -> dict[Precision, float]:
    """The best of a few trials of one product in each precision.

    They take turns, so that whatever else the machine does meanwhile slows them alike.
    """
    rows, inputs, outputs = PRODUCT_SHAPE
    random = np.random.default_rng(0)  # of zeros some machines multiply faster
    left, right = random.standard_normal((rows, inputs)), random.standard_normal((inputs, outputs))
    best = dict.fromkeys(precisions, math.inf)
    for _ in range(1 + _TRIALS):  # the first compiles, and is never the best
        for precision in precisions:
            dtype = operand_dtype(precision)
            operands = jnp.asarray(left, dtype), jnp.asarray(right, dtype)
            jax.block_until_ready(operands)
            began = time.perf_counter()
            _multiply(*operands, dtype=dtype).block_until_ready()
            best[precision] = min(best[precision], time.perf_counter() - began)
    return best


_multiply = jax.jit(functools.partial(product, "ri,io->ro"), static_argnames="dtype")
