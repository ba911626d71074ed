"""What lies between two products, number by number; and the product over all panels of a kernel."""

# numba's decorators and intrinsics are beyond type checkers.
# pyright: reportCallIssue=false

from typing import Any

import numpy as np
from numba import types
from numba.core import cgutils

from mt3_model.cpu.kernels.compiling import compiled, intrinsic
from mt3_model.cpu.kernels.vectors import MOST_ROWS, PANEL, multiply_panel


@compiled()
def product(  # noqa: PLR0917 (numba compiles positional arguments best)
    left: Any, inner: int, kernels: Any, at: int, columns: int, answer: Any
) -> int:
    """``answer[:, :columns] = left[:, :inner] kernel``, the kernel packed from ``kernels[at]`` on.

    Returns:
        Where the next kernel begins.
    """
    rows = left.shape[0]
    groups = (rows + MOST_ROWS - 1) // MOST_ROWS
    panels = (columns + PANEL - 1) // PANEL
    for panel in range(panels):
        for group in range(groups):
            first, last = rows * group // groups, rows * (group + 1) // groups
            multiply_panel(
                last - first,
                left.ctypes.data + first * left.strides[0],
                left.strides[0],
                kernels.ctypes.data + 2 * (at + panel * inner * PANEL),
                answer.ctypes.data + first * answer.strides[0] + 4 * panel * PANEL,
                answer.strides[0],
                inner // 2,
            )
    return at + panels * inner * PANEL


@intrinsic
def pointer(_context: Any, _address: Any) -> Any:
    """An address as a pointer."""

    def generate(_context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        return builder.inttoptr(arguments[0], cgutils.voidptr_t)

    return types.voidptr(types.intp), generate


@intrinsic
def float_of_bits(_context: Any, _bits: Any) -> Any:
    """32 bits as a float32."""

    def generate(context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        return builder.bitcast(arguments[0], context.get_value_type(types.float32))

    return types.float32(types.uint32), generate


@intrinsic
def bits_of_float(_context: Any, _number: Any) -> Any:
    """A float32 as 32 bits."""

    def generate(context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        return builder.bitcast(arguments[0], context.get_value_type(types.uint32))

    return types.uint32(types.float32), generate


@compiled(inline="always")
def widened(bfloat16: Any) -> Any:
    """To float32, exactly."""
    return float_of_bits(np.uint32(bfloat16) << np.uint32(16))


@compiled(inline="always")
def rounded(number: Any) -> Any:
    """To the nearest bfloat16, ties to even; what is no number stays none."""
    bits = bits_of_float(number)
    nearest = (bits + np.uint32(0x7FFF) + ((bits >> np.uint32(16)) & np.uint32(1))) >> np.uint32(16)
    return np.uint16(nearest) if number == number else np.uint16(0x7FC0)  # noqa: PLR0124


@compiled(forceinline=True, fastmath={"contract"})
def exp(x: Any) -> Any:
    """``e^x`` within 1e-7 of itself, in operations that LLVM puts into vectors.

    ``e^x = 2^n e^r`` with n an integer and ``|r| <= ln 2 / 2``; ``e^r`` by a polynomial. Adding
    ``1.5 * 2^23`` rounds to an integer, which then stands in the lowest bits.
    Source of the coefficients: Cephes, expf.
    """
    # Not `max` and `min`, which would make a number of what is none.
    x = np.float32(-87.0) if x < np.float32(-87.0) else x  # noqa: FURB136
    x = np.float32(88.0) if x > np.float32(88.0) else x  # noqa: FURB136
    shifted = x * np.float32(1.4426950408889634) + np.float32(12582912.0)
    n = shifted - np.float32(12582912.0)
    r = x - n * np.float32(0.693359375)
    r = r - n * np.float32(-2.12194440e-4)
    y = np.float32(1.9875691500e-4)
    y = y * r + np.float32(1.3981999507e-3)
    y = y * r + np.float32(8.3334519073e-3)
    y = y * r + np.float32(4.1665795894e-2)
    y = y * r + np.float32(1.6666665459e-1)
    y = y * r + np.float32(5.0000001201e-1)
    y = y * r * r + r + np.float32(1.0)
    exponent = (bits_of_float(shifted) + np.uint32(127)) << np.uint32(23)
    return y * float_of_bits(exponent)


@compiled()
def norm(x: Any, scale: Any, epsilon: Any, answer: Any) -> None:
    """`layers.RMSNorm`, rounded for the product that follows."""
    width = x.shape[1]
    for i in range(x.shape[0]):
        squares = np.float32(0)
        for d in range(width):
            squares += x[i, d] * x[i, d]
        factor = np.float32(1) / np.sqrt(squares / np.float32(width) + epsilon)
        for d in range(width):
            answer[i, d] = rounded(x[i, d] * factor * scale[d])


@compiled()
def add(x: Any, increment: Any) -> None:
    """``x += increment``, of as many columns as x has."""
    for i in range(x.shape[0]):
        for d in range(x.shape[1]):
            x[i, d] += increment[i, d]


@compiled()
def gate(both: Any, width: int, answer: Any) -> None:
    """``gelu(both[:, :width]) * both[:, width:]``, rounded.

    The tanh form ``x / 2 (1 + tanh(u))`` is ``x / (1 + e^(-2u))``. Source: `layers.GatedMLP`.
    """
    for i in range(both.shape[0]):
        for m in range(width):
            x = both[i, m]
            u = np.float32(0.7978845608028654) * (x + np.float32(0.044715) * x * x * x)
            gelu = x / (np.float32(1) + exp(np.float32(-2) * u))
            answer[i, m] = rounded(gelu * both[i, width + m])


@compiled(fastmath={"reassoc", "nnan", "nsz"})
def largest_of(numbers: Any, count: int) -> Any:
    """Of the first ``count``; which one where some are no numbers, is left open."""
    largest = np.float32(-np.inf)
    for number in range(count):
        largest = max(largest, numbers[number])
    return largest
