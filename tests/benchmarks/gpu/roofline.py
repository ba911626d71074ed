"""Measure this device's highest rates in the same process: matrix products and memory.

The fastest call counts, because disturbances only slow a call down. The operands are random: zeros
compute faster than data. Sizes are large enough that a call takes much longer than its launch. On a
CPU they are small, because there the figures only show that the benchmark works.
"""

import statistics
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

REPEATS = 7


def measure_roofline() -> dict[str, float]:
    """Measure TFLOP/s of square products and GB/s of a copy (read plus written).

    Products are computed as in the network: bfloat16 operands are summed in float32, float32 ones
    are exact.
    """
    small = jax.default_backend() == "cpu"
    side, copied = (1_024, 1 << 25) if small else (8_192, 1 << 30)
    return {
        "bfloat16_tflops": round(_product_rate(side, jnp.bfloat16, "default"), 2),
        "float32_tflops": round(_product_rate(side // 2, jnp.float32, "highest"), 2),
        "copy_gb_per_second": round(_copy_rate(copied), 1),
        "product_side": side,
        "copied_bytes": copied * 4,
    }


def median_seconds(work: Callable[[], Any]) -> float:
    """Return the median seconds of a call, after one call that compiles."""
    return statistics.median(time_calls(work))


def time_calls(work: Callable[[], Any]) -> list[float]:
    """Return the seconds of each of `REPEATS` calls."""
    jax.block_until_ready(work())
    taken: list[float] = []
    for _ in range(REPEATS):
        began = time.perf_counter()
        jax.block_until_ready(work())
        taken.append(time.perf_counter() - began)
    return taken


def _product_rate(side: int, dtype: Any, precision: str) -> float:
    left, right = (jax.random.normal(jax.random.key(seed), (side, side), dtype) for seed in (0, 1))
    product = jax.jit(
        lambda a, b: jnp.matmul(a, b, precision=precision, preferred_element_type=jnp.float32)
    )
    return 2 * side**3 / min(time_calls(lambda: product(left, right))) / 1e12


def _copy_rate(numbers: int) -> float:
    """Measure ``x + 1``: the compiler may not remove this copy, and the addition costs nothing."""
    source = jax.random.normal(jax.random.key(2), (numbers,), jnp.float32)
    copy = jax.jit(lambda x: x + 1.0)
    return 2 * source.nbytes / min(time_calls(lambda: copy(source))) / 1e9
