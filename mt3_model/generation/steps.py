"""The jitted verbs between host and device: encode, insert, step, release, resize.

This is the only place where the library calls ``jax.jit``. Every shape is static: the encode batch,
the number of slots and the cache's columns, which come from a short list of buckets. The state is
donated to each verb that replaces it, so that its caches are updated in place.

    encode   samples [B, T*hop]        -> cross-attention keys and values of B segments
    insert   encoded row -> row        a row starts its segment at position 0
    step     k tokens for every row    stops early when no row is live
    release  rows                      stop: nobody wants them any more
    resize   cache columns C -> C'     grows or shrinks to the next bucket
"""

import dataclasses
import functools
from typing import Any, cast

import jax
import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Array, Bool, Float32, Int32

from mt3_model.generation import selection
from mt3_model.generation.state import GenerationState
from mt3_model.network.cache import DecoderCache, KeysValues
from mt3_model.network.transformer import Transformer
from mt3_model.spec import ModelSpec
from mt3_model.spectrogram.logmel import compute_logmel

Parameters = Any
"""The network's parameter tree (nested dict of arrays), as T5X names it."""

Encoded = tuple[KeysValues, ...]
"""Per decoder layer, cross-attention keys and values ``[B, H, T, K]``."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Steps:
    """The verbs for one model in one precision. Hashable: it is a static argument of the jits."""

    spec: ModelSpec
    dtype: DTypeLike = jnp.float32

    @property
    def network(self) -> Transformer:
        """The network in this precision."""
        return Transformer(self.spec.network, self.dtype)

    def encode(
        self, parameters: Parameters, samples: Float32[Array, "B N"], frames: Int32[Array, "B"]
    ) -> Encoded:
        """Samples of B segments to what generation needs of them."""
        with _exact_products(self.dtype):
            return _encode(self, parameters, samples, frames)

    def insert(
        self,
        state: GenerationState,
        encoded: Encoded,
        rows: Int32[Array, "B"],
        reference: Bool[Array, "B"],
    ) -> GenerationState:
        """Starts encoded segment i in ``rows[i]`` at position 0, by the reference rule or greedily.

        A row past the last one drops its segment: so a short batch is padded.
        """
        return _insert(state, encoded, rows, reference)

    def step(self, parameters: Parameters, state: GenerationState, count: int) -> GenerationState:
        """Up to ``count`` generation steps; the cache must have columns for all of them."""
        with _exact_products(self.dtype):
            return _step(self, parameters, state, jnp.int32(count))

    def release(self, state: GenerationState, rows: Bool[Array, "R"]) -> GenerationState:
        """Stops these rows: their segments are no longer wanted."""
        return dataclasses.replace(state, live=state.live & ~rows)

    def resize(self, state: GenerationState, columns: int) -> GenerationState:
        """The same state with room for ``columns`` tokens per slot."""
        # Only what changes goes through the call: the rest would be copied.
        past = _resize(state.cache.self_attention, columns)
        return dataclasses.replace(
            state, cache=dataclasses.replace(state.cache, self_attention=past)
        )


def _exact_products(dtype: DTypeLike) -> Any:
    """float32 means float32: GPUs and TPUs otherwise round operands to tf32 or bfloat16."""
    return jax.default_matmul_precision("highest" if jnp.dtype(dtype) == jnp.float32 else "default")


@functools.partial(jax.jit, static_argnums=0)
def _encode(
    steps: Steps,
    parameters: Parameters,
    samples: Float32[Array, "B N"],
    frames: Int32[Array, "B"],
) -> Encoded:
    logmel = compute_logmel(samples, frames, steps.spec.spectrogram)
    encoded = steps.network.apply(
        {"params": parameters}, logmel, method=Transformer.encode_for_generation
    )
    return cast("Encoded", encoded)


@functools.partial(jax.jit, donate_argnums=0)
def _insert(
    state: GenerationState,
    encoded: Encoded,
    rows: Int32[Array, "B"],
    reference: Bool[Array, "B"],
) -> GenerationState:
    def put(into: Array, values: Any) -> Array:
        return into.at[rows].set(values, mode="drop")

    cross = tuple(
        KeysValues(
            keys=put(old.keys, new.keys),
            values=put(old.values, new.values),
        )
        for old, new in zip(state.cache.cross_attention, encoded, strict=True)
    )
    return dataclasses.replace(
        state,
        cache=dataclasses.replace(state.cache, cross_attention=cross),
        position=put(state.position, 0),
        live=put(state.live, True),
        reference=put(state.reference, reference),
        score=put(state.score, 0.0),
        best_score=put(state.best_score, -jnp.inf),
        length=put(state.length, 0),
    )


@functools.partial(jax.jit, static_argnums=0, donate_argnums=2)
def _step(
    steps: Steps,
    parameters: Parameters,
    state: GenerationState,
    count: Int32[Array, ""],
) -> GenerationState:
    network = steps.network

    def unfinished(carry: tuple[Int32[Array, ""], GenerationState]) -> Bool[Array, ""]:
        done, state = carry
        return (done < count) & jnp.any(state.live)

    def one_token(
        carry: tuple[Int32[Array, ""], GenerationState],
    ) -> tuple[Int32[Array, ""], GenerationState]:
        done, state = carry
        result = network.apply(
            {"params": parameters},
            _previous_token(state),
            state.position,
            state.cache,
            method=Transformer.step,
        )
        logits, cache = cast("tuple[Array, DecoderCache]", result)
        return done + 1, _advance(state, cache, logits, steps.spec.max_tokens)

    _, state = jax.lax.while_loop(unfinished, one_token, (jnp.int32(0), state))
    return state


def _previous_token(state: GenerationState) -> Int32[Array, "R"]:
    """The token before the one to be predicted: 0 (padding) at position 0."""
    before = jnp.maximum(state.position - 1, 0)
    token = jnp.take_along_axis(state.tokens, before[:, None], axis=1)[:, 0]
    return jnp.where(state.position == 0, 0, token)


def _advance(
    state: GenerationState,
    cache: DecoderCache,
    logits: Float32[Array, "R V"],
    max_tokens: int,
) -> GenerationState:
    """Selects one token per live row and writes it down."""
    progress = selection.Progress(
        position=state.position,
        score=state.score,
        best_score=state.best_score,
        length=state.length,
        live=state.live,
    )
    choice = selection.select(logits, progress, state.reference, max_tokens=max_tokens)
    rows = jnp.arange(state.rows)
    # Rows that are not live write past the end, where `mode="drop"` ignores it.
    column = jnp.where(state.live, state.position, max_tokens)
    return dataclasses.replace(
        state,
        cache=cache,
        tokens=state.tokens.at[rows, column].set(choice.token, mode="drop"),
        log_probabilities=state.log_probabilities.at[rows, column].set(
            choice.log_probability, mode="drop"
        ),
        position=choice.progress.position,
        live=choice.progress.live,
        score=choice.progress.score,
        best_score=choice.progress.best_score,
        length=choice.progress.length,
    )


@functools.partial(jax.jit, static_argnums=1)
def _resize(past: tuple[KeysValues, ...], columns: int) -> tuple[KeysValues, ...]:
    def fit(array: Array) -> Array:
        missing = columns - array.shape[2]
        if missing <= 0:
            return array[:, :, :columns]
        return jnp.pad(array, ((0, 0), (0, 0), (0, missing), (0, 0)))

    return jax.tree.map(fit, past)
