"""`generation/selection.py` for some rows on a CPU core, compiled by numba.

One pass over a row's logits finds the two most probable tokens, and only the row's own rule is
computed.
"""

# numba's decorators are beyond type checkers.
# pyright: reportCallIssue=false

from typing import Any

import numpy as np

from mt3_model.codec.vocabulary import END_TOKEN
from mt3_model.cpu.kernels.compiling import compiled, program
from mt3_model.generation.selection import LENGTH_ALPHA


@compiled()
def _brevity_penalty(length: int) -> Any:
    return np.float32(np.float32((5 + length) / 6) ** np.float32(LENGTH_ALPHA))


@compiled(fastmath=False)
def _forbid(logits: Any, forbidden: Any) -> Any:
    """Replace forbidden logits by -inf; return the normalizer of the others."""
    largest = np.float32(-np.inf)
    for token in range(logits.size):
        if forbidden[token]:
            logits[token] = -np.inf
        elif logits[token] > largest:
            largest = logits[token]
    total = np.float32(0)
    for token in range(logits.size):
        if not forbidden[token]:
            total += np.exp(logits[token] - largest)
    return largest + np.log(total)


SIGNATURE = (
    "void(int64[::1], float32[:,::1], float32[::1], int32[::1], int32[:,::1], float32[:,::1],"
    "int32[::1], boolean[::1], float32[::1], float32[::1], int32[::1], boolean[::1],"
    "boolean[::1], boolean[:,::1])"
)
"""The types of `select_rows`."""


@program(fastmath=False)
def select_rows(  # noqa: C901, PLR0917 (one loop over rows; numba compiles positional arguments best)
    rows: Any,
    logits: Any,
    normalizers: Any,
    previous: Any,
    tokens: Any,
    log_probabilities: Any,
    positions: Any,
    reference: Any,
    scores: Any,
    best_scores: Any,
    lengths: Any,
    live: Any,
    restricted: Any,
    forbidden: Any,
) -> None:
    """Select one token for each of some live rows and write it into the rows' state.

    Args:
        rows: int64 ``[M]``: indices of the live rows, out of R.
        logits: float32 ``[M, V]``; forbidden ones are replaced by -inf.
        normalizers: float32 ``[M]``: ``log(sum(exp(logits)))``; replaced for restricted rows.
        previous: int32 ``[R]``: each row's last token; written, as are all that follow but
            ``reference``.
        tokens: int32 ``[R, L]``: written at each row's position.
        log_probabilities: float32 ``[R, L]``: written at each row's position.
        positions: int32 ``[R]``: tokens chosen so far.
        reference: bool ``[R]``: rows under the reference rule; the others are greedy.
        scores: float32 ``[R]``: sums of log probabilities.
        best_scores: float32 ``[R]``: best length-normalized score of a finished candidate.
        lengths: int32 ``[R]``: tokens of the result; 0 while there is none.
        live: bool ``[R]``: whether the row continues.
        restricted: bool ``[R]``: rows with forbidden tokens; read only, as ``forbidden`` is.
        forbidden: bool ``[R, V]``: tokens that a restricted row must not have; not read for others.
    """
    most = tokens.shape[1]
    for i in range(rows.size):
        row = rows[i]
        if restricted[row]:
            normalizers[i] = _forbid(logits[i], forbidden[row])
        score = scores[row] if reference[row] else np.float32(0)
        first, second = 0, 0
        first_score, second_score = np.float32(-np.inf), np.float32(-np.inf)
        for token in range(logits.shape[1]):
            candidate = score + (logits[i, token] - normalizers[i])
            if candidate > first_score:
                second, second_score = first, first_score
                first, first_score = token, candidate
            elif candidate > second_score:
                second, second_score = token, candidate
        written = positions[row] + 1
        if reference[row]:
            finished = np.float32(-np.inf)
            token = first
            if first == END_TOKEN:
                finished, token = first_score, second
            elif second == END_TOKEN:
                finished = second_score
            chosen = logits[i, token] - normalizers[i]
            finished /= _brevity_penalty(written)
            if finished > best_scores[row]:
                best_scores[row], lengths[row] = finished, written
            unbeatable = best_scores[row] > (scores[row] + chosen) / _brevity_penalty(most + 1)
            done = unbeatable or written == most
            if done and lengths[row] == 0:
                lengths[row] = written
        else:
            token = first
            chosen = logits[i, token] - normalizers[i]
            done = token == END_TOKEN or written == most
            lengths[row] = written if done else 0
        previous[row] = tokens[row, positions[row]] = token
        log_probabilities[row, positions[row]] = chosen
        scores[row] += chosen
        positions[row] = written
        live[row] = not done
