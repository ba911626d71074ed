"""Softmax attention on one core: of one query over kept columns, and of a whole sequence."""

# numba's decorators are beyond type checkers.
# pyright: reportCallIssue=false, reportPrivateImportUsage=false

from typing import Any

import numpy as np
from numba import carray

from mt3_model.cpu.kernels.compiling import compiled
from mt3_model.cpu.kernels.elements import exp, largest_of, pointer, product, rounded, widened
from mt3_model.cpu.kernels.vectors import HEAD_WIDTH, PANEL, mix_columns, score_columns


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
def attend_to_kept(  # noqa: PLR0917 (numba: by position, and in one piece)
    query: Any, kept: Any, columns: int, used: int, heads: int, width: int, answer: Any
) -> None:
    """``answer = softmax(query keys^T) values`` of one row, head by head, rounded.

    Args:
        query: float32 ``[H * K]``.
        kept: Addresses of keys and values ``[H, columns, K]``, stored as the answer is.
        columns: Columns that there is room for.
        used: Columns that are attended to, from the first.
        heads: H.
        width: K.
        answer: float32 or uint16 ``[H * K]``.
    """
    shape = (heads, columns, width)
    keys = carray(pointer(kept[0]), shape, answer.dtype)
    values = carray(pointer(kept[1]), shape, answer.dtype)
    weights, mixed = np.empty(used, np.float32), np.empty(width, np.float32)
    for head in range(heads):
        first, at = head * width, answer.itemsize * head * columns * width
        if width == HEAD_WIDTH:
            address = query.ctypes.data + 4 * first
            score_columns(answer, address, kept[0] + at, used, weights.ctypes.data)
        else:
            for column in range(used):
                score = np.float32(0)
                for k in range(width):
                    score += query[first + k] * widened(keys[head, column, k])
                weights[column] = score
        total = _exponentiate(weights, used)
        if width == HEAD_WIDTH:
            mix_columns(answer, weights.ctypes.data, kept[1] + at, used, mixed.ctypes.data)
        else:
            for k in range(width):
                mixed[k] = 0
            for column in range(used):
                for k in range(width):
                    mixed[k] += weights[column] * widened(values[head, column, k])
        for k in range(width):
            answer[first + k] = rounded(mixed[k] / total, answer)


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
