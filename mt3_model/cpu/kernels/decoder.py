"""One generation step of some rows as a single program for a CPU core.

XLA's programs for a step consist of hundreds of small operations, each of which is divided among
all cores, and of products that repack their kernel each time. With as few rows as a CPU computes,
this takes most of the time. Here a core takes some rows through the whole decoder alone: it waits
for no other core within a step, kernels are packed in the order in which the processor reads them
(`packed_network.py`), and only the columns in use of keys and values are read. Every row is
computed by the same operations in the same order, whatever the other rows are, so its tokens depend
neither on their number nor on the number of cores (measurements: deploy/decisions/0007).

Stored as bfloat16, the operands of products are rounded and sums and everything else are float32;
attention's queries and weights are not rounded. Stored as float32, nothing is rounded. Source:
`network/decoder.py`.
"""

# numba's decorators are beyond type checkers.
# pyright: reportCallIssue=false

from typing import Any

import numpy as np

from mt3_model.cpu.kernels.attention import attend_to_kept, write_column
from mt3_model.cpu.kernels.compiling import program
from mt3_model.cpu.kernels.elements import add, exp, gate, largest_of, norm, product
from mt3_model.cpu.kernels.vectors import PANEL

SIGNATURE = (
    "void(int64[::1], int32[::1], int32[::1], int64[:,:,::1], int64[::1], int64[:,:,::1],"
    "UniTuple(int64, 5), float32, {stored}[::1], float32[:,::1], float32[:,::1], float32[:,::1],"
    "float32[:,::1], float32[::1])"
)
"""The types of `step_rows`; ``stored`` is float32, or uint16 for bfloat16."""


@program()
def step_rows(  # noqa: PLR0917 (numba compiles positional arguments best)
    rows: Any,
    tokens: Any,
    positions: Any,
    past: Any,
    columns: Any,
    encoded: Any,
    sizes: Any,
    epsilon: Any,
    kernels: Any,
    norms: Any,
    embedding: Any,
    table: Any,
    logits: Any,
    normalizers: Any,
) -> None:
    """`Decoder.step` for some rows: compute their next tokens' logits, add a column to their past.

    Args:
        rows: int64 ``[M]``: indices of the rows to step, out of R.
        tokens: int32 ``[R]``: the token before the one to be predicted; 0 at position 0.
        positions: int32 ``[R]``: position of each row's next token.
        past: int64 ``[R, layers, 2]``: addresses of keys and values ``[H, columns[r], K]``, stored
            as the kernels are.
        columns: int64 ``[R]``: number of tokens for which each row's past has room.
        encoded: int64 ``[R, layers, 2]``: addresses of the segment's keys and values ``[H, T, K]``.
        sizes: ``(layers, heads, head_width, mlp_width, frames)``.
        epsilon: float32, the norms' epsilon.
        kernels: float32, or uint16 for bfloat16: all of the decoder's, packed by
            `packed_network.py`.
        norms: float32 ``[3 * layers + 1, D]``: the norms' scales in order of use.
        embedding: float32 ``[V, D]``.
        table: float32 ``[L, D]``: the position embedding.
        logits: float32 ``[M, V rounded up to panels]``: written.
        normalizers: float32 ``[M]``: written, ``log(sum(exp(logits)))``.
    """
    layers, heads, width, mlp_width, frames = sizes
    count, features = rows.size, embedding.shape[1]
    joined = heads * width
    vocabulary = embedding.shape[0]
    x = np.empty((count, features), np.float32)
    rounded = np.empty((count, max(features, joined, mlp_width) + PANEL), kernels.dtype)
    widest = max(3 * joined, features, 2 * mlp_width) + PANEL
    wide = np.empty((count, widest), np.float32)
    for i in range(count):
        row = rows[i]
        for d in range(features):
            x[i, d] = embedding[tokens[row], d] + table[positions[row], d]
    at = 0
    for layer in range(layers):
        norm(x, norms[3 * layer], epsilon, rounded)
        at = product(rounded, features, kernels, at, 3 * joined, wide)
        for i in range(count):
            row = rows[i]
            kept, room, position = past[row, layer], columns[row], positions[row]
            for which in range(2):
                new = wide[i, (1 + which) * joined : (2 + which) * joined]
                write_column(new, kept[which], kernels, room, position, heads, width)
            attend_to_kept(wide[i], kept, room, position + 1, heads, width, rounded[i])
        at = product(rounded, joined, kernels, at, features, wide)
        add(x, wide)
        norm(x, norms[3 * layer + 1], epsilon, rounded)
        at = product(rounded, features, kernels, at, joined, wide)
        for i in range(count):
            attend_to_kept(
                wide[i], encoded[rows[i], layer], frames, frames, heads, width, rounded[i]
            )
        at = product(rounded, joined, kernels, at, features, wide)
        add(x, wide)
        norm(x, norms[3 * layer + 2], epsilon, rounded)
        at = product(rounded, features, kernels, at, 2 * mlp_width, wide)
        gate(wide, mlp_width, rounded)
        at = product(rounded, mlp_width, kernels, at, features, wide)
        add(x, wide)
    norm(x, norms[3 * layers], epsilon, rounded)
    product(rounded, features, kernels, at, vocabulary, logits)
    for i in range(count):
        largest = largest_of(logits[i], vocabulary)
        total = np.float32(0)
        for v in range(vocabulary):
            total += exp(logits[i, v] - largest)
        normalizers[i] = largest + np.log(total)
