"""Products over and over, so that their rate can be measured."""

# numba's decorators are beyond type checkers.
# pyright: reportCallIssue=false

from typing import Any

from mt3_model.network.kernels.compiling import compiled
from mt3_model.network.kernels.elements import product


@compiled("void(uint16[:,::1], uint16[::1], int64, float32[:,::1], int64)")
def multiply_repeatedly(left: Any, kernel: Any, columns: int, answer: Any, times: int) -> None:
    """``answer = left kernel``, as often as asked.

    Args:
        left: uint16 ``[M, I]``.
        kernel: uint16, packed.
        columns: O.
        answer: float32 ``[M, O rounded up to panels]``.
        times: How often.
    """
    for _ in range(times):
        product(left, left.shape[1], kernel, 0, columns, answer)
