"""One generation step of some rows as a single program for a CPU core.

XLA's programs for a step are made of hundreds of small operations, which cores share one by one,
and of products that pack their kernel anew each time. With the few rows of a CPU that is most of
the time. Here a core takes some rows through the whole decoder alone: nothing is waited for within
a step, kernels lie packed as the processor reads them (`packed_network.py`), and of keys and values
only the columns in use are read. Every row is computed for itself, by the same operations in the
same order whatever rows stand beside it: its tokens depend neither on their number nor on the
number of cores (deploy/decisions/0007 has the figures).

The numbers are those of ``precision="bfloat16"``: operands of products rounded to bfloat16, sums
and everything else float32; attention's queries and weights are not rounded. Source:
`network/decoder.py`.
"""

# numba's decorators are beyond type checkers.
# pyright: reportCallIssue=false

from typing import Any

import numpy as np

from mt3_model.cpu.kernels.attention import attend_to_kept, write_column
from mt3_model.cpu.kernels.compiling import compiled
from mt3_model.cpu.kernels.elements import add, exp, gate, largest_of, norm, product
from mt3_model.cpu.kernels.vectors import PANEL


@compiled(
    "void(int64[::1], int32[::1], int32[::1], int64[:,:,::1], int64[::1], int64[:,:,::1],"
    "UniTuple(int64, 5), float32, uint16[::1], float32[:,::1], float32[:,::1], float32[:,::1],"
    "float32[:,::1], float32[::1])"
)
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
    """`Decoder.step` for some rows: their next tokens' logits; their past gains a column.

    Args:
        rows: int64 ``[M]``: which of the R rows.
        tokens: int32 ``[R]``: the token before the one to be predicted; 0 at position 0.
        positions: int32 ``[R]``: where each row stands.
        past: intp ``[R, layers, 2]``: addresses of keys and values uint16 ``[H, columns[r], K]``.
        columns: int64 ``[R]``: for how many tokens each row's past has room.
        encoded: intp ``[R, layers, 2]``: the same of the segment, ``[H, T, K]``.
        sizes: ``(layers, heads, head_width, mlp_width, frames)``.
        epsilon: float32, of the norms.
        kernels: uint16, all of the decoder's, as `packed_network.py` lays them.
        norms: float32 ``[3 * layers + 1, D]``: scales in order of use.
        embedding: float32 ``[V, D]``.
        table: float32 ``[L, D]``: positions.
        logits: float32 ``[M, V rounded up to panels]``: the answer.
        normalizers: float32 ``[M]``: ``log(sum(exp(logits)))``, the answer's other half.
    """
    layers, heads, width, mlp_width, frames = sizes
    count, features = rows.size, embedding.shape[1]
    joined = heads * width
    vocabulary = embedding.shape[0]
    x = np.empty((count, features), np.float32)
    rounded = np.empty((count, max(features, joined, mlp_width) + PANEL), np.uint16)
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
                write_column(new, kept[which], room, position, heads, width)
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
