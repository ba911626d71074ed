"""Measure the rate of matrix products of the CPU's own programs."""

# numba's decorators are beyond type checkers.
# pyright: reportCallIssue=false

import concurrent.futures
import time
from typing import Any

import numpy as np

from mt3_model.cpu.kernels.compiling import program
from mt3_model.cpu.kernels.elements import product
from mt3_model.notes.transcription import Precision

_TIMES, _TRIALS = 4, 5


def flops_per_second(
    rows: int, inputs: int, outputs: int, cores: int, precision: Precision
) -> float:
    """Measure the rate of our programs' products on all cores together.

    Args:
        rows: rows of the activations, summed over the cores.
        inputs: I of the kernel, even.
        outputs: O of the kernel, a multiple of 32.
        cores: number of cores; each multiplies an equal part of the rows.
        precision: precision of the operands.
    """
    random = np.random.default_rng(0)
    its_rows = max(rows // cores, 1)
    numbers = random.standard_normal((its_rows + outputs, inputs), np.float32)
    if precision == "bfloat16":
        numbers = (numbers.view(np.uint32) >> 16).astype(np.uint16)
    kernel = np.ascontiguousarray(numbers[its_rows:]).ravel()
    arguments = [
        (
            numbers[:its_rows].copy(),
            kernel,
            outputs,
            np.empty((its_rows, outputs), np.float32),
            _TIMES,
        )
        for _ in range(cores)
    ]
    best = float("inf")
    with concurrent.futures.ThreadPoolExecutor(cores) as threads:
        for _ in range(_TRIALS):
            began = time.perf_counter()
            for call in [threads.submit(multiply_repeatedly, *its) for its in arguments]:
                call.result()
            best = min(best, time.perf_counter() - began)
    return _TIMES * cores * 2 * its_rows * inputs * outputs / best


@program()
def multiply_repeatedly(left: Any, kernel: Any, columns: int, result: Any, times: int) -> None:
    """Compute ``result = left kernel``, ``times`` times.

    Args:
        left: float32 or uint16 ``[M, I]``.
        kernel: the same type, packed.
        columns: O.
        result: float32 ``[M, O rounded up to panels]``.
        times: number of repetitions.
    """
    for _ in range(times):
        product(left, left.shape[1], kernel, 0, columns, result)
