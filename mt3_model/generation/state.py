"""The state of generation between device calls: one frozen pytree with one row for each slot.

A slot holds one segment from `insert` until its result is final. Rows are independent: each has
its own position, and a row that is not live changes no result.
"""

import dataclasses

import jax
import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Array, Bool, Float32, Int32

from mt3_model.network.cache import DecoderCache, KeysValues, empty_cache
from mt3_model.spec import ModelSpec


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class GenerationState:
    """R rows, of all devices."""

    cache: DecoderCache
    """Keys and values of each layer: self-attention ``[R, H, C, K]``, cross-attention
    ``[R, H, T, K]``."""
    tokens: Int32[Array, "R L"]
    """Tokens chosen so far. A finished row's result: ``tokens[:length - 1]`` and the end token."""
    log_probabilities: Float32[Array, "R L"]
    """The model's log probability (natural) of each token."""
    position: Int32[Array, "R"]
    """Number of tokens chosen so far, which is the position of the next."""
    live: Bool[Array, "R"]
    """Whether the row still generates."""
    reference: Bool[Array, "R"]
    """Whether the row follows the reference rule; the others are greedy."""
    forbidden: Bool[Array, "R V"]
    """Tokens that the row must not have. They depend only on the row's own request."""
    score: Float32[Array, "R"]
    """Sum of log probabilities of the row's tokens (the reference rule's ``lp``)."""
    best_score: Float32[Array, "R"]
    """Best length-normalized score of a finished candidate; -inf before the first."""
    length: Int32[Array, "R"]
    """Number of tokens of the result with its end token; 0 while there is no finished candidate."""

    @property
    def rows(self) -> int:
        """R."""
        return self.tokens.shape[0]

    @property
    def columns(self) -> int:
        """C: the number of tokens for which the self-attention cache has room."""
        return self.cache.self_attention[0].keys.shape[2]


def empty_state(spec: ModelSpec, rows: int, columns: int, dtype: DTypeLike) -> GenerationState:
    """Return a state of R = ``rows`` and C = ``columns`` with no live row.

    Args:
        spec: The model.
        rows: R.
        columns: C.
        dtype: Dtype of keys and values.
    """
    return GenerationState(
        cache=empty_cache(spec, rows, columns, dtype),
        tokens=jnp.zeros((rows, spec.max_tokens), jnp.int32),
        log_probabilities=jnp.zeros((rows, spec.max_tokens), jnp.float32),
        position=jnp.zeros(rows, jnp.int32),
        live=jnp.zeros(rows, bool),
        reference=jnp.zeros(rows, bool),
        forbidden=jnp.zeros((rows, spec.network.vocabulary_size), bool),
        score=jnp.zeros(rows, jnp.float32),
        best_score=jnp.full(rows, -jnp.inf, jnp.float32),
        length=jnp.zeros(rows, jnp.int32),
    )


def with_past(state: GenerationState, past: tuple[KeysValues, ...]) -> GenerationState:
    """Return the state with other self-attention keys and values."""
    return dataclasses.replace(state, cache=dataclasses.replace(state.cache, self_attention=past))


def without_cache(state: GenerationState) -> GenerationState:
    """Return the state without its cache."""
    return dataclasses.replace(state, cache=DecoderCache(self_attention=(), cross_attention=()))
