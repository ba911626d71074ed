"""The choice of each row's next token, and of its end: a pure function of logits and progress.

``greedy`` takes the most probable token and ends at the end token. ``reference`` is what the
original runs, T5X beam search with a single beam: the end token, when it is among the two most
probable, becomes a *finished candidate*, and the row continues with the best other token until no
continuation can beat the best candidate. In practice it runs tens of tokens past the end and now
and then returns a longer result than greedy.

With ``lp`` the running sum of float32 log probabilities and ``bp(n) = ((5 + n) / 6)^0.6``:

1. take the two largest of ``lp + log_softmax(logits)`` (ties: the lower token);
2. if the end token is one of them, it is a candidate with score ``lp_end / bp(t + 1)``, kept only
   if strictly better than the best so far;
3. the live row takes the best of the two that is not the end token, even where the end was first;
4. the row is done when ``best > lp / bp(max_tokens + 1)`` or after ``max_tokens`` steps; its result
   is the best candidate, else the live row.

Source: t5x cc342d4, decoding.py ``beam_search`` (beam_size 1, alpha 0.6, ``brevity_penalty``) as
called by magenta/mt3 fa04532, models.py:128.
"""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float32, Int32

from mt3_model.codec.vocabulary import END_TOKEN
from mt3_model.notes.generated import GeneratedSegment

LENGTH_ALPHA = 0.6
"""Source: t5x decoding.py ``beam_search(alpha=0.6)``."""


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Progress:
    """The rows' state that the rule reads and writes; `state.py` documents the fields."""

    position: Int32[Array, "R"]
    score: Float32[Array, "R"]
    best_score: Float32[Array, "R"]
    length: Int32[Array, "R"]
    live: Bool[Array, "R"]


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Choice:
    """The result of one step."""

    token: Int32[Array, "R"]
    """The token with which each row continues."""
    log_probability: Float32[Array, "R"]
    """The model's log probability (natural) of that token."""
    progress: Progress


def select(
    logits: Float32[Array, "R V"],
    progress: Progress,
    reference: Bool[Array, "R"],
    forbidden: Bool[Array, "R V"],
    *,
    max_tokens: int,
) -> Choice:
    """Select one token for every row, each by its own rule; rows that are not live do not change.

    Both rules are computed for every row: they cost three passes over the logits, a thousandth of
    the network's step, and one compiled program serves any mixture of callers.

    Args:
        logits: Logits ``[R, V]`` of the next token.
        progress: The rows' progress so far, each field ``[R]``.
        reference: Whether each row ``[R]`` follows the reference rule; the others are greedy.
        forbidden: Tokens ``[R, V]`` that a row must not have. They get probability 0, and the
            others' probabilities are normalized without them.
        max_tokens: Number of tokens after which a row is done in any case.
    """

    def pick(by_reference: Array, by_greedy: Array) -> Array:
        return jnp.where(reference, by_reference, by_greedy)

    def keep_finished(new: Array, old: Array) -> Array:
        return jnp.where(progress.live, new, old)

    logits = jnp.where(forbidden, -jnp.inf, logits)
    log_probabilities = jax.nn.log_softmax(logits)  # [R, V]
    choice = jax.tree.map(
        pick,
        _reference(log_probabilities, progress, max_tokens),
        _greedy(logits, log_probabilities, progress, max_tokens),
    )
    kept = jax.tree.map(keep_finished, choice.progress, progress)
    return dataclasses.replace(choice, progress=kept)


def _greedy(
    logits: Float32[Array, "R V"],
    log_probabilities: Float32[Array, "R V"],
    progress: Progress,
    max_tokens: int,
) -> Choice:
    token = jnp.argmax(logits, axis=-1).astype(jnp.int32)  # ties: the first
    log_probability = _at(log_probabilities, token)
    written = progress.position + 1
    done = (token == END_TOKEN) | (written == max_tokens)
    return Choice(
        token=token,
        log_probability=log_probability,
        progress=Progress(
            position=written,
            score=progress.score + log_probability,
            best_score=progress.best_score,
            length=jnp.where(done, written, 0),
            live=~done,
        ),
    )


def _reference(
    log_probabilities: Float32[Array, "R V"], progress: Progress, max_tokens: int
) -> Choice:
    candidates = progress.score[:, None] + log_probabilities
    top_tokens = _top_two(candidates)  # [R, 2]
    top_scores = jnp.take_along_axis(candidates, top_tokens, axis=-1)
    is_end = top_tokens == END_TOKEN
    written = progress.position + 1

    finished = jnp.max(jnp.where(is_end, top_scores, -jnp.inf), axis=-1)
    finished = finished / _brevity_penalty(written)
    better = finished > progress.best_score
    best_score = jnp.where(better, finished, progress.best_score)
    length = jnp.where(better, written, progress.length)

    which = jnp.where(is_end[:, 0], 1, 0)[:, None]
    token = jnp.take_along_axis(top_tokens, which, axis=-1)[:, 0]
    score = jnp.take_along_axis(top_scores, which, axis=-1)[:, 0]
    unbeatable = best_score > score / _brevity_penalty(jnp.int32(max_tokens + 1))
    done = unbeatable | (written == max_tokens)
    log_probability = _at(log_probabilities, token)
    return Choice(
        token=token,
        log_probability=log_probability,
        progress=Progress(
            position=written,
            score=score,
            best_score=best_score,
            length=jnp.where(done & (length == 0), written, length),
            live=~done,
        ),
    )


def _top_two(values: Float32[Array, "R V"]) -> Int32[Array, "R 2"]:
    """Return the indices of each row's two largest values, ties to the lower; without a sort."""
    first = jnp.argmax(values, axis=-1)
    columns = jnp.arange(values.shape[-1])
    others = jnp.where(columns == first[:, None], -jnp.inf, values)
    return jnp.stack([first, jnp.argmax(others, axis=-1)], axis=-1).astype(jnp.int32)


def _at(values: Float32[Array, "R V"], token: Int32[Array, "R"]) -> Float32[Array, "R"]:
    return jnp.take_along_axis(values, token[:, None], axis=-1)[:, 0]


def _brevity_penalty(length: Int32[Array, "*B"]) -> Float32[Array, "*B"]:
    """``((5 + n) / 6)^alpha``. Source: t5x decoding.py ``brevity_penalty``."""
    return jnp.power((5.0 + length.astype(jnp.float32)) / 6.0, LENGTH_ALPHA)


def read_result(
    tokens: Int32[np.ndarray, " L"],
    log_probabilities: Float32[np.ndarray, " L"],
    *,
    length: int,
    best_score: float,
) -> GeneratedSegment:
    """Return the result of a row that has ended, in arrays of its own.

    Args:
        tokens: the row's tokens ``[L]``.
        log_probabilities: the log probability of each ``[L]``.
        length: number of tokens of the result.
        best_score: score of its best candidate; -inf if it has none.
    """
    result = tokens[:length].copy()
    if np.isfinite(best_score):
        # Under the reference rule the row continued after its best candidate, which ended here.
        result[-1] = END_TOKEN
    return GeneratedSegment(tokens=result, log_probabilities=log_probabilities[:length].copy())
