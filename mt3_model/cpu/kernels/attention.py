"""Softmax attention on one core: of one query over kept columns, and of a whole sequence."""

# numba's decorators are beyond type checkers.
# pyright: reportCallIssue=false, reportPrivateImportUsage=false

from typing import Any

import numpy as np
from numba import carray

from mt3_model.cpu.kernels.compiling import compiled
from mt3_model.cpu.kernels.elements import exp, largest_of, pointer, product, rounded, widened
from mt3_model.cpu.kernels.vectors import HEAD_WIDTH, PANEL, mix_columns, score_columns

_HEADS, _COLUMNS = 3, 4
"""Heads that are read alternately, and columns of each at a time. One core of an AMD EPYC (AVX2)
read 26 GB/s this way, and 22 GB/s head by head."""


@compiled()
def _exponentiate(scores: Any, count: int) -> Any:
    """Replace scores by ``e^(scores - their largest)``; return the sum."""
    largest = largest_of(scores, count)
    total = np.float32(0)
    for number in range(count):
        weight = exp(scores[number] - largest)
        scores[number] = weight
        total += weight
    return total


@compiled()
def _score(  # noqa: PLR0917 (numba: by position)
    query: int, keys: int, count: int, width: int, stored: Any, scores: int
) -> None:
    """``scores = query keys^T`` for some columns ``[count, K]`` of one head; all by address."""
    if width == HEAD_WIDTH:
        score_columns(stored, query, keys, count, scores)
        return
    its, ours = (
        carray(pointer(query), width, np.float32),
        carray(pointer(scores), count, np.float32),
    )
    columns = carray(pointer(keys), (count, width), stored.dtype)
    for column in range(count):
        ours[column] = 0
        for k in range(width):
            ours[column] += its[k] * widened(columns[column, k])


@compiled()
def _mix(  # noqa: PLR0917
    weights: int, values: int, count: int, width: int, stored: Any, mixed: int
) -> None:
    """``mixed += weights values`` for some columns ``[count, K]`` of one head; all by address."""
    if width == HEAD_WIDTH:
        mix_columns(stored, weights, values, count, mixed)
        return
    its, ours = (
        carray(pointer(weights), count, np.float32),
        carray(pointer(mixed), width, np.float32),
    )
    columns = carray(pointer(values), (count, width), stored.dtype)
    for column in range(count):
        for k in range(width):
            ours[k] += its[column] * widened(columns[column, k])


@compiled()
def attend_to_kept(  # noqa: PLR0917
    query: Any, kept: Any, columns: int, used: int, heads: int, width: int, answer: Any
) -> None:
    """``answer = softmax(query keys^T) values`` of one row, rounded.

    A few heads are read alternately, a few columns each: a core reads several streams of memory
    faster than one.

    Args:
        query: float32 ``[H * K]``.
        kept: Addresses of keys and values ``[H, columns, K]``, stored as the answer is.
        columns: Columns that there is room for.
        used: Columns that are attended to, from the first.
        heads: H.
        width: K.
        answer: float32 or uint16 ``[H * K]``.
    """
    # The last column has the totals. It is read at the end, which keeps the weights alive until
    # then: numba frees an array after its last use by name, even if its address is still used.
    weights = np.empty((heads, used + 1), np.float32)
    mixed = np.zeros((heads, width), np.float32)
    queries, scores, sums = query.ctypes.data, weights.ctypes.data, mixed.ctypes.data
    each = answer.itemsize * width
    for first in range(0, heads, _HEADS):
        last = min(first + _HEADS, heads)
        for column in range(0, used, _COLUMNS):
            count = min(_COLUMNS, used - column)
            for head in range(first, last):
                keys = kept[0] + each * (head * columns + column)
                its = scores + 4 * (head * (used + 1) + column)
                _score(queries + 4 * head * width, keys, count, width, answer, its)
    for head in range(heads):
        weights[head, used] = _exponentiate(weights[head], used)
    for first in range(0, heads, _HEADS):
        last = min(first + _HEADS, heads)
        for column in range(0, used, _COLUMNS):
            count = min(_COLUMNS, used - column)
            for head in range(first, last):
                values = kept[1] + each * (head * columns + column)
                its = scores + 4 * (head * (used + 1) + column)
                _mix(its, values, count, width, answer, sums + 4 * head * width)
    for head in range(heads):
        for k in range(width):
            answer[head * width + k] = rounded(mixed[head, k] / weights[head, used], answer)


@compiled()
def write_column(  # noqa: PLR0917
    new: Any, kept: Any, stored: Any, columns: int, position: int, heads: int, width: int
) -> None:
    """Write one row's new keys or values ``[H * K]`` into a column of those kept, rounded.

    Args:
        new: float32 ``[H * K]``.
        kept: Address of keys or values ``[H, columns, K]``.
        stored: An array of the numbers that are kept.
        columns: Columns that there is room for.
        position: The column to write.
        heads: H.
        width: K.
    """
    into = carray(pointer(kept), (heads, columns, width), stored.dtype)
    for head in range(heads):
        for k in range(width):
            into[head, position, k] = rounded(new[head * width + k], stored)


@compiled()
def attend_to_itself(joined: Any, heads: int, width: int, answer: Any) -> None:
    """Attend with every query of a sequence to all its keys, head by head; the answer is rounded.

    Keys and values are packed as kernels are, so that both products are those of `product`. As in
    `network/attention.py` queries and weights are rounded too.

    Args:
        joined: float32 or uint16 ``[T, 3 * H * K]``: queries, keys, values; T and K are even.
        heads: H.
        width: K.
        answer: ``[T, H * K]``, stored as the input is.
    """
    frames = joined.shape[0]
    padded = (frames + PANEL - 1) // PANEL * PANEL
    each = 4 // answer.itemsize  # numbers in a word
    panels = (width + PANEL - 1) // PANEL
    keys = np.zeros((padded // PANEL, width // each, PANEL, each), answer.dtype)
    values = np.zeros((panels, frames // each, PANEL, each), answer.dtype)
    scores = np.empty((frames, padded), np.float32)
    weights = np.empty((frames, frames + PANEL), answer.dtype)
    mixed = np.empty((frames, panels * PANEL), np.float32)
    for head in range(heads):
        first = head * width
        for t in range(frames):
            new = joined[t, (heads * width + first) :]
            for k in range(width):
                keys[t // PANEL, k // each, t % PANEL, k % each] = new[k]
            new = joined[t, (2 * heads * width + first) :]
            for k in range(width):
                values[k // PANEL, t // each, k % PANEL, t % each] = new[k]
        product(joined[:, first:], width, keys.ravel(), 0, frames, scores)
        for t in range(frames):
            total = _exponentiate(scores[t], frames)
            for column in range(frames):
                weights[t, column] = rounded(scores[t, column] / total, answer)
        product(weights, frames, values.ravel(), 0, width, mixed)
        for t in range(frames):
            for k in range(width):
                answer[t, first + k] = rounded(mixed[t, k], answer)
