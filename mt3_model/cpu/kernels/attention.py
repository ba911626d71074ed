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
    """``scores = e^(scores - their largest)``; returns the sum."""
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
        query: ``[H * K]``.
        kept: Addresses of keys and values ``[H, columns, K]``.
        columns: That there is room for.
        used: That are seen.
        heads: H.
        width: K.
        answer: ``[H * K]``.
    """
    shape = (heads, columns, width)
    keys = carray(pointer(kept[0]), shape, np.uint16)
    values = carray(pointer(kept[1]), shape, np.uint16)
    weights, mixed = np.empty(used, np.float32), np.empty(width, np.float32)
    for head in range(heads):
        first, at = head * width, 2 * head * columns * width
        if width == HEAD_WIDTH:
            score_columns(query.ctypes.data + 4 * first, kept[0] + at, used, weights.ctypes.data)
        else:
            for column in range(used):
                score = np.float32(0)
                for k in range(width):
                    score += query[first + k] * widened(keys[head, column, k])
                weights[column] = score
        total = _exponentiate(weights, used)
        if width == HEAD_WIDTH:
            mix_columns(weights.ctypes.data, kept[1] + at, used, mixed.ctypes.data)
        else:
            for k in range(width):
                mixed[k] = 0
            for column in range(used):
                for k in range(width):
                    mixed[k] += weights[column] * widened(values[head, column, k])
        for k in range(width):
            answer[first + k] = rounded(mixed[k] / total)


@compiled()
def write_column(  # noqa: PLR0917
    new: Any, kept: Any, columns: int, position: int, heads: int, width: int
) -> None:
    """Rounds one row's new keys or values ``[H * K]`` into a column of those kept."""
    into = carray(pointer(kept), (heads, columns, width), np.uint16)
    for head in range(heads):
        for k in range(width):
            into[head, position, k] = rounded(new[head * width + k])


@compiled()
def attend_to_itself(joined: Any, heads: int, width: int, answer: Any) -> None:
    """Every query of a sequence over all its keys, head by head, rounded.

    Keys and values are packed as kernels are, so that both products are those of `product`. As in
    `network/attention.py` queries and weights are rounded too.

    Args:
        joined: uint16 ``[T, 3 * H * K]``: queries, keys, values; T and K are even.
        heads: H.
        width: K.
        answer: uint16 ``[T, H * K]``.
    """
    frames = joined.shape[0]
    padded = (frames + PANEL - 1) // PANEL * PANEL
    keys = np.zeros((padded // PANEL, width // 2, PANEL, 2), np.uint16)
    values = np.zeros(((width + PANEL - 1) // PANEL, frames // 2, PANEL, 2), np.uint16)
    scores = np.empty((frames, padded), np.float32)
    weights = np.empty((frames, frames + PANEL), np.uint16)
    mixed = np.empty((frames, values.shape[0] * PANEL), np.float32)
    for head in range(heads):
        first = head * width
        for t in range(frames):
            its = joined[t, (heads * width + first) :]
            for k in range(width):
                keys[t // PANEL, k // 2, t % PANEL, k % 2] = its[k]
            its = joined[t, (2 * heads * width + first) :]
            for k in range(width):
                values[k // PANEL, t // 2, k % PANEL, t % 2] = its[k]
        product(joined[:, first:], width, keys.ravel(), 0, frames, scores)
        for t in range(frames):
            total = _exponentiate(scores[t], frames)
            for column in range(frames):
                weights[t, column] = rounded(scores[t, column] / total)
        product(weights, frames, values.ravel(), 0, width, mixed)
        for t in range(frames):
            for k in range(width):
                answer[t, first + k] = rounded(mixed[t, k])
