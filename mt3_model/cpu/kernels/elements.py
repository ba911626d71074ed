"""Elementwise operations between two products, and the product over all panels."""

# numba's decorators and intrinsics are beyond type checkers.
# pyright: reportCallIssue=false

from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils

from mt3_model.cpu.kernels.compiling import compiled, intrinsic
from mt3_model.cpu.kernels.vectors import BFLOAT16_ROWS, FLOAT32_ROWS, PANEL, multiply_panel

_I16, _I32 = ir.IntType(16), ir.IntType(32)
_WORD_BYTES = 4
_FEW_ROWS = 4
"""With so few rows the processor waits for memory even with prefetching, which costs 15 %."""


@compiled()
def product(  # noqa: PLR0917 (numba compiles positional arguments best)
    left: Any, inner: int, kernels: Any, at: int, columns: int, answer: Any
) -> int:
    """``answer[:, :columns] = left[:, :inner] kernel``, the kernel packed from ``kernels[at]`` on.

    A panel is read from memory once and multiplied with one group of rows after the other. Each
    group prefetches its part of the panel after this one, which may be the next kernel's first:
    reading memory is spread evenly over computing.

    Args:
        left: ``[M, inner or more]``, stored as the kernels are.
        inner: Inputs that are read; even for bfloat16.
        kernels: float32 or uint16 (bfloat16), packed by `packed_network.py`.
        at: Index of the kernel's first number.
        columns: Outputs; the answer is written up to the next multiple of `PANEL`.
        answer: float32 ``[M, columns rounded up to panels or more]``.

    Returns:
        The index of the next kernel's first number.
    """
    rows = left.shape[0]
    most_rows = FLOAT32_ROWS if kernels.itemsize == _WORD_BYTES else BFLOAT16_ROWS
    groups = (rows + most_rows - 1) // most_rows
    panels = (columns + PANEL - 1) // PANEL
    words = inner * kernels.itemsize // _WORD_BYTES
    stride = 0 if rows <= _FEW_ROWS else (_WORD_BYTES * PANEL + groups - 1) // groups
    for panel in range(panels):
        address = kernels.ctypes.data + kernels.itemsize * (at + panel * inner * PANEL)
        following = address if rows <= _FEW_ROWS else address + _WORD_BYTES * PANEL * words
        for group in range(groups):
            first, last = rows * group // groups, rows * (group + 1) // groups
            multiply_panel(
                kernels,
                last - first,
                left.ctypes.data + first * left.strides[0],
                left.strides[0],
                address,
                answer.ctypes.data + first * answer.strides[0] + 4 * panel * PANEL,
                answer.strides[0],
                words,
                following + group * words * stride,
                stride,
            )
    return at + panels * inner * PANEL


@intrinsic
def pointer(_context: Any, _address: Any) -> Any:
    """Return an address as a pointer."""

    def generate(_context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        return builder.inttoptr(arguments[0], cgutils.voidptr_t)

    return types.voidptr(types.intp), generate


@intrinsic
def float_of_bits(_context: Any, _bits: Any) -> Any:
    """Return 32 bits as a float32."""

    def generate(context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        return builder.bitcast(arguments[0], context.get_value_type(types.float32))

    return types.float32(types.uint32), generate


@intrinsic
def bits_of_float(_context: Any, _number: Any) -> Any:
    """Return a float32 as 32 bits."""

    def generate(context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        return builder.bitcast(arguments[0], context.get_value_type(types.uint32))

    return types.uint32(types.float32), generate


@intrinsic
def widened(_context: Any, stored: Any) -> Any:
    """Return a stored number (float32, or bfloat16 in uint16) as a float32, exactly."""

    def generate(_context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        if stored == types.float32:
            return arguments[0]
        word = builder.shl(builder.zext(arguments[0], _I32), ir.Constant(_I32, 16))
        return builder.bitcast(word, ir.FloatType())

    return types.float32(stored), generate


@intrinsic
def rounded(_context: Any, _number: Any, into: Any) -> Any:
    """Round a float32 to the array's numbers: to bfloat16 (uint16), or not at all (float32).

    To the nearest, ties to even; NaN stays NaN.
    """

    def generate(_context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        number = arguments[0]
        if into.dtype == types.float32:
            return number
        half, one, below, nan = (ir.Constant(_I32, bits) for bits in (16, 1, 0x7FFF, 0x7FC0))
        bits = builder.bitcast(number, _I32)
        odd = builder.and_(builder.lshr(bits, half), one)
        nearest = builder.lshr(builder.add(builder.add(bits, below), odd), half)
        is_nan = builder.fcmp_unordered("uno", number, number)
        return builder.trunc(builder.select(is_nan, nan, nearest), _I16)

    return into.dtype(types.float32, into), generate


@compiled(forceinline=True, fastmath={"contract"})
def exp(x: Any) -> Any:
    """``e^x`` with a relative error of 1e-7, in operations that LLVM vectorizes.

    ``e^x = 2^n e^r`` with n an integer and ``|r| <= ln 2 / 2``; ``e^r`` by a polynomial. Adding
    ``1.5 * 2^23`` rounds to an integer, which then stands in the lowest bits.
    Source of the coefficients: Cephes, expf.
    """
    # Not `max` and `min`, which would turn NaN into a number.
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
    """`layers.RMSNorm` of ``[M, D]``, rounded for the product that follows."""
    width = x.shape[1]
    for i in range(x.shape[0]):
        squares = np.float32(0)
        for d in range(width):
            squares += x[i, d] * x[i, d]
        factor = np.float32(1) / np.sqrt(squares / np.float32(width) + epsilon)
        for d in range(width):
            answer[i, d] = rounded(x[i, d] * factor * scale[d], answer)


@compiled()
def add(x: Any, increment: Any) -> None:
    """``x += increment[:, :D]`` for x ``[M, D]``."""
    for i in range(x.shape[0]):
        for d in range(x.shape[1]):
            x[i, d] += increment[i, d]


@compiled()
def gate(both: Any, width: int, answer: Any) -> None:
    """``gelu(both[:, :width]) * both[:, width:]`` of ``[M, 2 * width]``, rounded.

    The tanh form ``x / 2 (1 + tanh(u))`` is ``x / (1 + e^(-2u))``. Source: `layers.GatedMLP`.
    """
    for i in range(both.shape[0]):
        for m in range(width):
            x = both[i, m]
            u = np.float32(0.7978845608028654) * (x + np.float32(0.044715) * x * x * x)
            gelu = x / (np.float32(1) + exp(np.float32(-2) * u))
            answer[i, m] = rounded(gelu * both[i, width + m], answer)


@compiled(fastmath={"reassoc", "nnan", "nsz"})
def largest_of(numbers: Any, count: int) -> Any:
    """Return the largest of the first ``count`` numbers; any of them where some are NaN."""
    largest = np.float32(-np.inf)
    for number in range(count):
        largest = max(largest, numbers[number])
    return largest
