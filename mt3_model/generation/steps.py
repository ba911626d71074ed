"""The jitted functions between host and device: encode, insert, step, empty, resize, arrange.

Every shape is static: the encode batch B, the number of rows R and the cache's columns C, the last
two from short lists of buckets. The state is donated to insert, step and empty, so that its caches
are updated in place.

    encode   samples [B, N]            -> keys and values [B, H, T, K] of B segments, per layer
    insert   encoded segment -> row    a row starts its segment at position 0
    step     k tokens for every row    may end early when no row is live
    empty    rows                      stop: their segments are no longer wanted
    resize   cache columns C -> C'     to another bucket
    arrange  rows R -> R'              to another bucket, live rows moved together

Several devices share the rows (data parallelism): each holds all parameters, an equal part of the
rows, and an equal part of every encode batch. Each function is one program on all of them without
communication (`jax.shard_map`): every device computes with the shapes that it would have alone, so
the number of devices changes no token.
"""

import dataclasses
import functools
from collections.abc import Callable, Sequence
from typing import Any, cast

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jaxtyping import Array, Bool, Float32, Int32

from mt3_model.generation import selection
from mt3_model.generation.precision import operand_dtype
from mt3_model.generation.state import (
    GenerationState,
    empty_state,
    with_past,
    without_cache,
)
from mt3_model.network.cache import DecoderCache, KeysValues
from mt3_model.network.params import Parameters
from mt3_model.network.single_query import CachedAttention
from mt3_model.network.transformer import Transformer
from mt3_model.notes.transcription import Precision
from mt3_model.spec import ModelSpec
from mt3_model.spectrogram.logmel import compute_logmel

Device = Any
"""A `jax.Device`, which type checkers cannot see."""

Structure = Any
"""The structure of a pytree: JAX's `PyTreeDef`."""

Encoded = tuple[KeysValues, ...]
"""Cross-attention keys and values ``[B, H, T, K]`` of each decoder layer."""

_Carry = tuple[Int32[Array, ""], GenerationState]
_ROWS = PartitionSpec("rows")
_ALL = PartitionSpec()


@dataclasses.dataclass(frozen=True, kw_only=True)
class Steps:
    """The functions for one model in one precision on some devices; hashable, a static argument.

    B and R count all devices' segments and rows; both are multiples of their number.
    """

    spec: ModelSpec
    precision: Precision = "float32"
    devices: tuple[Device, ...]
    cached_attention: CachedAttention = "xla"
    """The implementation of attention in generation."""
    ends_early: bool = True
    """Whether `step` ends once no row is live; else a GPU's host need not wait between tokens."""

    @functools.cached_property
    def network(self) -> Transformer:
        """The network in this precision."""
        return Transformer(self.spec.network, operand_dtype(self.precision), self.cached_attention)

    @functools.cached_property
    def mesh(self) -> Mesh:
        """The devices as a mesh with one axis."""
        return Mesh(np.array(self.devices), ("rows",))

    @property
    def by_rows(self) -> NamedSharding:
        """The sharding of arrays whose first axis is rows or segments: each device a part."""
        return NamedSharding(self.mesh, _ROWS)

    @property
    def everywhere(self) -> NamedSharding:
        """The sharding of the parameters: a copy on each device."""
        return NamedSharding(self.mesh, _ALL)

    def empty_state(self, rows: int, columns: int) -> GenerationState:
        """Return a state of R = ``rows`` and C = ``columns`` with no live row."""
        make = jax.jit(
            lambda: empty_state(self.spec, rows, columns, operand_dtype(self.precision)),
            out_shardings=self.by_rows,
        )
        return make()

    def encode(
        self, parameters: Parameters, samples: Float32[Array, "B N"], frames: Int32[Array, "B"]
    ) -> Encoded:
        """Encode B segments.

        Args:
            parameters: The parameter tree.
            samples: Samples ``[B, N]`` of each segment, padded with zeros.
            frames: True frames ``[B]`` of each segment.

        Returns:
            Cross-attention keys and values ``[B, H, T, K]`` of each decoder layer.
        """
        return _encode(self, parameters, samples, frames)

    def insert(
        self,
        state: GenerationState,
        encoded: Encoded,
        rows: Int32[Array, "B"],
        reference: Bool[Array, "B"],
        forbidden: Bool[Array, "B V"],
    ) -> GenerationState:
        """Start encoded segment i in row ``rows[i]`` of its device, at position 0.

        Args:
            state: The state; donated.
            encoded: The result of `encode`; segment i lies on device ``i // (B / devices)``.
            rows: Row ``[B]`` of each segment, counted from its device's first. A row past the last
                drops the segment, which pads a short batch.
            reference: Whether each segment ``[B]`` follows the reference rule, or is greedy.
            forbidden: Tokens ``[B, V]`` that each segment must not have.
        """
        # Only what changes goes through the call, so that one program serves every bucket.
        past = state.cache.self_attention
        state = _insert(self, with_past(state, ()), encoded, rows, reference, forbidden)
        return with_past(state, past)

    def step(self, parameters: Parameters, state: GenerationState, count: int) -> GenerationState:
        """Run up to ``count`` generation steps; C must have room for all of them."""
        leaves, structure = jax.tree.flatten(state)
        return jax.tree.unflatten(structure, _step(self, count, structure, parameters, leaves))

    def compile_step(
        self, parameters: Parameters, rows: int, columns: int, count: int
    ) -> Callable[[Parameters, GenerationState], GenerationState]:
        """Compile `step` with ``count`` ahead of time for R = ``rows`` and C = ``columns``."""
        shapes, structure = self._shapes(rows, columns)
        compiled = _step.lower(self, count, structure, parameters, shapes).compile()

        def step(parameters: Parameters, state: GenerationState) -> GenerationState:
            leaves = compiled(parameters, jax.tree.leaves(state))
            return jax.tree.unflatten(structure, leaves)

        return step

    def _shapes(self, rows: int, columns: int) -> tuple[list[jax.ShapeDtypeStruct], Structure]:
        """Return the shapes of a state's leaves and its structure, without creating one."""
        structures: list[Structure] = []

        def leaves() -> list[Array]:
            state = empty_state(self.spec, rows, columns, operand_dtype(self.precision))
            structures.append(jax.tree.structure(state))
            return jax.tree.leaves(state)

        shapes = [
            jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=self.by_rows)
            for leaf in jax.eval_shape(leaves)
        ]
        return shapes, structures[0]

    def copy_progress(self, state: GenerationState) -> GenerationState:
        """Return a copy of the state without its cache, which outlasts its donation to `step`."""
        return _copy(without_cache(state))

    def empty(self, state: GenerationState, rows: Bool[Array, "R"]) -> GenerationState:
        """Stop the rows that are true in ``rows`` ``[R]`` and zero their caches, in place.

        Args:
            state: The state; its cache is donated.
            rows: The rows, whose segments are no longer wanted.
        """
        cache = state.cache
        return dataclasses.replace(
            state,
            live=_stop(state.live, rows),
            # Layer by layer, so that one small program per bucket serves them all.
            cache=DecoderCache(
                self_attention=tuple(_zero(its, rows) for its in cache.self_attention),
                cross_attention=tuple(_zero(its, rows) for its in cache.cross_attention),
            ),
        )

    def resize(self, state: GenerationState, columns: int) -> GenerationState:
        """Return the state with self-attention caches ``[R, H, columns, K]``."""
        # Layer by layer: one small program per pair of buckets serves them all.
        return with_past(
            state, tuple(_resize(columns, layer) for layer in state.cache.self_attention)
        )

    def arrange(self, state: GenerationState, rows: Int32[Array, "Q"]) -> GenerationState:
        """Return a state of Q rows, each a copy of an old row, or empty.

        Args:
            state: The old state; not donated.
            rows: Old row ``[Q]`` for each new one, counted from its device's first; past the last:
                an empty row.
        """
        # Layer by layer again, and the past apart, so that buckets of both kinds do not multiply.
        cache = state.cache
        arranged = _arrange(self, without_cache(state), rows)
        return dataclasses.replace(
            arranged,
            cache=DecoderCache(
                self_attention=tuple(_arrange(self, its, rows) for its in cache.self_attention),
                cross_attention=tuple(_arrange(self, its, rows) for its in cache.cross_attention),
            ),
        )

    def compile_moves(
        self, size: tuple[int, int], *, rows_beside: Sequence[int], columns_beside: Sequence[int]
    ) -> None:
        """Run `resize`, `arrange` and `empty` once on one layer, and so compile them for all.

        Args:
            size: R and C of the layer's self-attention cache.
            rows_beside: the other R that `arrange` may go to.
            columns_beside: the other C that `resize` may go to.
        """
        rows, columns = size

        def first_layer() -> KeysValues:
            state = empty_state(self.spec, rows, columns, operand_dtype(self.precision))
            return state.cache.self_attention[0]

        layer = jax.jit(first_layer, out_shardings=self.by_rows)()
        for other in columns_beside:
            _resize(other, layer)
        for other in rows_beside:
            kept = np.full(other, rows // len(self.devices), np.int32)  # none
            _arrange(self, layer, jax.device_put(kept, self.by_rows))
        _zero(layer, jax.device_put(np.zeros(rows, bool), self.by_rows))

    def shard(
        self, function: Callable[..., Any], inputs: tuple[PartitionSpec, ...]
    ) -> Callable[..., Any]:
        """Map a function over the devices, each with its part of the arguments."""
        return jax.shard_map(
            function, mesh=self.mesh, in_specs=inputs, out_specs=_ROWS, check_vma=False
        )

    def exact_products(self) -> Any:
        """Return the context in which float32 products are exact.

        GPUs and TPUs otherwise round operands to tf32 or bfloat16.
        """
        return jax.default_matmul_precision("highest" if self.precision == "float32" else "default")


@functools.partial(jax.jit, static_argnums=0)
def _encode(
    steps: Steps,
    parameters: Parameters,
    samples: Float32[Array, "B N"],
    frames: Int32[Array, "B"],
) -> Encoded:
    def encode(parameters: Parameters, samples: Array, frames: Array) -> Encoded:
        logmel = compute_logmel(samples, frames, steps.spec.spectrogram)
        encoded = steps.network.apply(
            {"params": parameters}, logmel, method=Transformer.encode_for_generation
        )
        return tuple(
            layer.astype(operand_dtype(steps.precision)) for layer in cast("Encoded", encoded)
        )

    with steps.exact_products():
        return steps.shard(encode, (_ALL, _ROWS, _ROWS))(parameters, samples, frames)


@functools.partial(jax.jit, static_argnums=0, donate_argnums=1)
def _insert(  # noqa: PLR0917 (one argument for each part of the state that changes)
    steps: Steps,
    state: GenerationState,
    encoded: Encoded,
    rows: Int32[Array, "B"],
    reference: Bool[Array, "B"],
    forbidden: Bool[Array, "B V"],
) -> GenerationState:
    def insert(
        state: GenerationState, encoded: Encoded, rows: Array, reference: Array, forbidden: Array
    ) -> GenerationState:
        def put(into: Array, values: Any) -> Array:
            return into.at[rows].set(values, mode="drop")

        cross = jax.tree.map(put, state.cache.cross_attention, encoded)
        return dataclasses.replace(
            state,
            cache=dataclasses.replace(state.cache, cross_attention=cross),
            position=put(state.position, 0),
            live=put(state.live, True),
            reference=put(state.reference, reference),
            forbidden=put(state.forbidden, forbidden),
            score=put(state.score, 0.0),
            best_score=put(state.best_score, -jnp.inf),
            length=put(state.length, 0),
        )

    inserted = steps.shard(insert, (_ROWS,) * 5)(state, encoded, rows, reference, forbidden)
    return cast("GenerationState", inserted)


# Flat, because shapes alone may not stand in the place of a state's arrays: its fields are checked.
@functools.partial(jax.jit, static_argnums=(0, 1, 2), donate_argnums=4)
def _step(
    steps: Steps, count: int, structure: Structure, parameters: Parameters, leaves: list[Array]
) -> list[Array]:
    def unfinished(carry: _Carry) -> Bool[Array, ""]:
        done, state = carry
        return (done < count) & jnp.any(state.live)

    def step(parameters: Parameters, state: GenerationState) -> GenerationState:
        def one_token(carry: _Carry) -> _Carry:
            done, state = carry
            result = steps.network.apply(
                {"params": parameters},
                _previous_token(state),
                jnp.where(state.live, state.position, 0),  # a free row reads one column
                state.cache,
                method=Transformer.step,
            )
            logits, cache = cast("tuple[Array, DecoderCache]", result)
            return done + 1, _advance(state, cache, logits, steps.spec.max_tokens)

        def one_more(_: Any, carry: _Carry) -> _Carry:
            return one_token(carry)

        start = jnp.int32(0), state
        if steps.ends_early:
            return jax.lax.while_loop(unfinished, one_token, start)[1]
        return jax.lax.fori_loop(0, count, one_more, start)[1]

    with steps.exact_products():
        state = jax.tree.unflatten(structure, leaves)
        return jax.tree.leaves(steps.shard(step, (_ALL, _ROWS))(parameters, state))


def _previous_token(state: GenerationState) -> Int32[Array, "R"]:
    """Return each row's token before the one to be predicted: 0 (padding) at position 0."""
    before = jnp.maximum(state.position - 1, 0)
    token = jnp.take_along_axis(state.tokens, before[:, None], axis=1)[:, 0]
    return jnp.where(state.position == 0, 0, token)


def _advance(
    state: GenerationState,
    cache: DecoderCache,
    logits: Float32[Array, "R V"],
    max_tokens: int,
) -> GenerationState:
    """Select one token for each live row and write it into the state."""
    progress = selection.Progress(
        position=state.position,
        score=state.score,
        best_score=state.best_score,
        length=state.length,
        live=state.live,
    )
    choice = selection.select(
        logits, progress, state.reference, state.forbidden, max_tokens=max_tokens
    )
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


@jax.jit
def _copy(state: GenerationState) -> GenerationState:
    return jax.tree.map(jnp.copy, state)


@jax.jit
def _stop(live: Bool[Array, "R"], rows: Bool[Array, "R"]) -> Bool[Array, "R"]:
    return live & ~rows


@functools.partial(jax.jit, donate_argnums=0)
def _zero(layer: KeysValues, rows: Bool[Array, "R"]) -> KeysValues:
    def zero(array: Array) -> Array:
        return jnp.where(rows[:, None, None, None], 0, array)

    return jax.tree.map(zero, layer)


@functools.partial(jax.jit, static_argnums=0)
def _resize(columns: int, layer: KeysValues) -> KeysValues:
    def fit(array: Array) -> Array:
        missing = columns - array.shape[2]
        if missing <= 0:
            return array[:, :, :columns]
        return jnp.pad(array, ((0, 0), (0, 0), (0, missing), (0, 0)))

    return jax.tree.map(fit, layer)


@functools.partial(jax.jit, static_argnums=0)
def _arrange(steps: Steps, rows_of: Any, rows: Int32[Array, "Q"]) -> Any:
    """Return a tree whose leaves have these rows ``[Q]`` of the old ones."""

    def arrange(rows_of: Any, rows: Array) -> Any:
        def take(leaf: Array) -> Array:
            return leaf.at[rows].get(mode="fill", fill_value=0)

        return jax.tree.map(take, rows_of)

    return steps.shard(arrange, (_ROWS, _ROWS))(rows_of, rows)
