"""Which token next, and when a row is done: one pure function per rule.

``greedy`` takes the most probable token and ends at the end token. ``reference`` is what the
original runs, T5X beam search with a single beam: the end token, when it is among the two most
probable, becomes a *finished candidate*, and the row goes on with the best other token until no
continuation can beat the best candidate. In practice it runs tens of tokens past the end and now
and then returns a longer result than greedy.

With ``lp`` the running sum of float32 log probabilities and ``bp(n) = ((5 + n) / 6)^0.6``:

1. take the two largest of ``lp + log_softmax(logits)`` (ties: the lower token);
2. is the end token one of them, it is a candidate with score ``lp_end / bp(t + 1)``, kept only if
   strictly better than the best so far;
3. the live row takes the best of the two that is not the end token, even where the end was first;
4. the row is done when ``best > lp / bp(max_tokens + 1)`` or after ``max_tokens`` steps; its result
   is the best candidate, else the live row.

Source: t5x cc342d4, decoding.py ``beam_search`` (beam_size 1, alpha 0.6, ``brevity_penalty``) as
called by magenta/mt3 fa04532, models.py:128.
"""

import dataclasses
from typing import Literal, assert_never

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float32, Int32

END_TOKEN = 1
LENGTH_ALPHA = 0.6
"""Source: t5x decoding.py ``beam_search(alpha=0.6)``."""

Rule = Literal["greedy", "reference"]


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Progress:
    """The part of a row's state that the rule reads and writes."""

    position: Int32[Array, "R"]
    score: Float32[Array, "R"]
    best_score: Float32[Array, "R"]
    length: Int32[Array, "R"]
    live: Bool[Array, "R"]


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Choice:
    """The rule's answer for one step."""

    token: Int32[Array, "R"]
    """What each row goes on with."""
    log_probability: Float32[Array, "R"]
    """The model's log probability of that token."""
    progress: Progress


def select(
    rule: Rule, logits: Float32[Array, "R V"], progress: Progress, *, max_tokens: int
) -> Choice:
    """Applies ``rule`` to one step of all rows; rows that are not live stay as they are."""
    match rule:
        case "greedy":
            choice = _greedy(logits, progress, max_tokens)
        case "reference":
            choice = _reference(logits, progress, max_tokens)
        case _:
            assert_never(rule)

    def keep_finished(new: Array, old: Array) -> Array:
        return jnp.where(progress.live, new, old)

    kept = jax.tree.map(keep_finished, choice.progress, progress)
    return dataclasses.replace(choice, progress=kept)


def _greedy(logits: Float32[Array, "R V"], progress: Progress, max_tokens: int) -> Choice:
    token = jnp.argmax(logits, axis=-1).astype(jnp.int32)  # ties: the first
    chosen = jnp.take_along_axis(logits, token[:, None], axis=-1)[:, 0]
    log_probability = chosen - jax.nn.logsumexp(logits, axis=-1)
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


def _reference(logits: Float32[Array, "R V"], progress: Progress, max_tokens: int) -> Choice:
    log_probabilities = jax.nn.log_softmax(logits)  # [R, V]
    candidates = progress.score[:, None] + log_probabilities
    top_scores, top_tokens = jax.lax.top_k(candidates, 2)  # [R, 2]; ties: the lower token first
    is_end = top_tokens == END_TOKEN
    written = progress.position + 1

    finished = jnp.max(jnp.where(is_end, top_scores, -jnp.inf), axis=-1)
    finished = finished / _brevity_penalty(written)
    better = finished > progress.best_score
    best_score = jnp.where(better, finished, progress.best_score)
    length = jnp.where(better, written, progress.length)

    which = jnp.where(is_end[:, 0], 1, 0)[:, None]
    token = jnp.take_along_axis(top_tokens, which, axis=-1)[:, 0].astype(jnp.int32)
    score = jnp.take_along_axis(top_scores, which, axis=-1)[:, 0]
    unbeatable = best_score > score / _brevity_penalty(jnp.int32(max_tokens + 1))
    done = unbeatable | (written == max_tokens)
    log_probability = jnp.take_along_axis(log_probabilities, token[:, None], axis=-1)[:, 0]
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


def _brevity_penalty(length: Int32[Array, "*B"]) -> Float32[Array, "*B"]:
    """``((5 + n) / 6)^alpha``. Source: t5x decoding.py ``brevity_penalty``."""
    return jnp.power((5.0 + length.astype(jnp.float32)) / 6.0, LENGTH_ALPHA)
