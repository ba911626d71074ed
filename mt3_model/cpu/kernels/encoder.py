"""One segment through the whole encoder as a single program for a CPU core.

As in `decoder.py`, no core waits for another: each encodes a different segment. Source:
`network/encoder.py`, in the precision in which the kernels are stored, and
`Decoder.project_encoded`.
"""

# numba's decorators are beyond type checkers.
# pyright: reportCallIssue=false, reportPrivateImportUsage=false

from typing import Any

import numpy as np
from numba import carray

from mt3_model.cpu.kernels.attention import attend_to_itself
from mt3_model.cpu.kernels.compiling import compiled, program
from mt3_model.cpu.kernels.elements import add, gate, norm, pointer, product, rounded
from mt3_model.cpu.kernels.vectors import PANEL

_BLOCK = 64
"""Frames that go together through everything but attention, so that a core's cache holds them."""


@compiled()
def _round(numbers: Any, answer: Any, columns: int) -> None:
    """``answer[:, :columns] = numbers[:, :columns]``, rounded."""
    for i in range(numbers.shape[0]):
        for d in range(columns):
            answer[i, d] = rounded(numbers[i, d], answer)


@compiled()
def _write_heads(new: Any, kept: Any, stored: Any, first: int, shape: Any) -> None:
    """Write a block's keys or values ``[M, H * K]`` into its frames of ``[H, T, K]``."""
    into = carray(pointer(kept), shape, stored.dtype)
    heads, _, width = shape
    for i in range(new.shape[0]):
        for head in range(heads):
            for k in range(width):
                into[head, first + i, k] = rounded(new[i, head * width + k], stored)


SIGNATURE = (
    "void(float32[:,::1], int64[:,::1], UniTuple(int64, 5), float32, {stored}[::1],"
    "float32[:,::1], float32[:,::1])"
)
"""The types of `encode_segment`; ``stored`` is float32, or uint16 for bfloat16."""


@program()
def encode_segment(  # noqa: PLR0917 (numba compiles positional arguments best)
    logmel: Any, kept: Any, sizes: Any, epsilon: Any, kernels: Any, norms: Any, table: Any
) -> None:
    """`Transformer.encode_for_generation` for one segment.

    Args:
        logmel: float32 ``[T, F]``; T is even.
        kept: int64 ``[decoder layers, 2]``: addresses where keys and values ``[H, T, K]`` are
            written, stored as the kernels are.
        sizes: ``(encoder layers, decoder layers, heads, head_width, mlp_width)``.
        epsilon: float32, the norms' epsilon.
        kernels: float32, or uint16 for bfloat16: all that encoding reads, packed by
            `packed_network.py`.
        norms: float32 ``[2 * encoder layers + 1, D]``: the norms' scales in order of use.
        table: float32 ``[L, D]``: the position embedding.
    """
    layers, decoder_layers, heads, width, mlp_width = sizes
    frames, inputs = logmel.shape
    features, joined = norms.shape[1], heads * width
    x = np.empty((frames, features), np.float32)
    attended = np.empty((frames, 3 * joined), kernels.dtype)
    mixed = np.empty((frames, joined + PANEL), kernels.dtype)
    block = np.empty((_BLOCK, max(inputs, features, mlp_width) + PANEL), kernels.dtype)
    wide = np.empty((_BLOCK, max(3 * joined, features, 2 * mlp_width) + PANEL), np.float32)
    after = 0
    for first in range(0, frames, _BLOCK):
        count = min(_BLOCK, frames - first)
        its, ours, sums = x[first : first + count], block[:count], wide[:count]
        _round(logmel[first : first + count], ours, inputs)
        after = product(ours, inputs, kernels, 0, features, sums)
        for i in range(count):
            for d in range(features):
                its[i, d] = sums[i, d] + table[first + i, d]
    for layer in range(layers):
        at = after
        for first in range(0, frames, _BLOCK):
            count = min(_BLOCK, frames - first)
            its, ours, sums = x[first : first + count], block[:count], wide[:count]
            norm(its, norms[2 * layer], epsilon, ours)
            after = product(ours, features, kernels, at, 3 * joined, sums)
            _round(sums, attended[first : first + count], 3 * joined)
        attend_to_itself(attended, heads, width, mixed)
        at = after
        for first in range(0, frames, _BLOCK):
            count = min(_BLOCK, frames - first)
            its, ours, sums = x[first : first + count], block[:count], wide[:count]
            after = product(mixed[first : first + count], joined, kernels, at, features, sums)
            add(its, sums)
            norm(its, norms[2 * layer + 1], epsilon, ours)
            after = product(ours, features, kernels, after, 2 * mlp_width, sums)
            gate(sums, mlp_width, ours)
            after = product(ours, mlp_width, kernels, after, features, sums)
            add(its, sums)
    at = after
    shape = (heads, frames, width)
    for first in range(0, frames, _BLOCK):
        count = min(_BLOCK, frames - first)
        ours, sums = block[:count], wide[:count]
        norm(x[first : first + count], norms[2 * layers], epsilon, ours)
        after = at
        for layer in range(decoder_layers):
            after = product(ours, features, kernels, after, 2 * joined, sums)
            _write_heads(sums, kept[layer, 0], kernels, first, shape)
            _write_heads(sums[:, joined:], kept[layer, 1], kernels, first, shape)
