"""The jitted verbs between host and device: encode, insert, step, release, resize, arrange.

These are the library's programs. Every shape is static: the encode batch, the
number of rows and the cache's columns, both from short lists of buckets. The state is donated to
the verbs of every visit (insert and step), so that its caches are updated in place.

    encode   samples [B, T*hop]        -> cross-attention keys and values of B segments
    insert   encoded row -> row        a row starts its segment at position 0
    step     k tokens for every row    stops early when no row is live
    release  rows                      stop: nobody wants them any more
    resize   cache columns C -> C'     to another bucket
    arrange  rows R -> R'              to another bucket, live rows moved together

Several devices share the rows (data parallelism): each holds all parameters, an equal part of the
rows, and an equal part of every encode batch. A verb is one program on all of them that never
communicates (`jax.shard_map`): each device's rows start, step and end on their own, and what it
computes has the shapes that it would have alone, so that the number of devices changes no token.
"""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any, cast

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jaxtyping import Array, Bool, Float32, Int32

from mt3_model.generation import selection
from mt3_model.generation.precision import operand_dtype
from mt3_model.generation.state import GenerationState, empty_state
from mt3_model.network.cache import DecoderCache, KeysValues
from mt3_model.network.transformer import Transformer
from mt3_model.notes.transcription import Precision
from mt3_model.spec import ModelSpec
from mt3_model.spectrogram.logmel import compute_logmel

Device = Any
"""A `jax.Device`, which type checkers cannot see."""

Structure = Any
"""How leaves hang together: JAX's `PyTreeDef`."""

Parameters = Any
"""The network's parameter tree (nested dict of arrays), as T5X names it."""

Encoded = tuple[KeysValues, ...]
"""Per decoder layer, cross-attention keys and values ``[B, H, T, K]``."""

_ROWS = PartitionSpec("rows")
_ALL = PartitionSpec()


@dataclasses.dataclass(frozen=True, kw_only=True)
class Steps:
    """The verbs for one model in one precision on some devices. Hashable: jits take it as static.

    B and R count all devices' segments and rows; both are multiples of their number.
    """

    spec: ModelSpec
    precision: Precision = "float32"
    devices: tuple[Device, ...]

    @functools.cached_property
    def network(self) -> Transformer:
        """The network in this precision."""
        return Transformer(self.spec.network, operand_dtype(self.precision))

    @functools.cached_property
    def mesh(self) -> Mesh:
        """The devices in a row."""
        return Mesh(np.array(self.devices), ("rows",))

    @property
    def by_rows(self) -> NamedSharding:
        """Where an array with rows (or segments) first lives: an equal part on each device."""
        return NamedSharding(self.mesh, _ROWS)

    @property
    def everywhere(self) -> NamedSharding:
        """Where the parameters live: whole on each device."""
        return NamedSharding(self.mesh, _ALL)

    def empty_state(self, rows: int, columns: int) -> GenerationState:
        """No row live; R = ``rows``."""
        make = jax.jit(
            lambda: empty_state(self.spec, rows, columns, operand_dtype(self.precision)),
            out_shardings=self.by_rows,
        )
        return make()

    def encode(
        self, parameters: Parameters, samples: Float32[Array, "B N"], frames: Int32[Array, "B"]
    ) -> Encoded:
        """Samples of B segments to what generation needs of them."""
        return _encode(self, parameters, samples, frames)

    def insert(
        self,
        state: GenerationState,
        encoded: Encoded,
        rows: Int32[Array, "B"],
        reference: Bool[Array, "B"],
    ) -> GenerationState:
        """Starts encoded segment i in row ``rows[i]`` of its device, at position 0.

        Args:
            state: Donated.
            encoded: Of `encode`; segment i lies on device ``i // (B / devices)``.
            rows: Counted from the device's first row; past its last one drops the segment: so a
                short batch is padded.
            reference: Whether by the reference rule; else greedily.
        """
        # Only what changes goes through the call, so that one program serves every bucket.
        past = state.cache.self_attention
        state = _insert(self, _with_past(state, ()), encoded, rows, reference)
        return _with_past(state, past)

    def step(self, parameters: Parameters, state: GenerationState, count: int) -> GenerationState:
        """Up to ``count`` generation steps; the cache must have columns for all of them."""
        leaves, structure = jax.tree.flatten(state)
        return jax.tree.unflatten(structure, _step(self, count, structure, parameters, leaves))

    def compile_step(
        self, parameters: Parameters, rows: int, columns: int, count: int
    ) -> Callable[[Parameters, GenerationState], GenerationState]:
        """`step` of ``count``, compiled ahead of time for R = ``rows`` and C = ``columns``."""
        shapes, structure = self._shapes(rows, columns)
        compiled = _step.lower(self, count, structure, parameters, shapes).compile()

        def step(parameters: Parameters, state: GenerationState) -> GenerationState:
            leaves = compiled(parameters, jax.tree.leaves(state))
            return jax.tree.unflatten(structure, leaves)

        return step

    def _shapes(self, rows: int, columns: int) -> tuple[list[jax.ShapeDtypeStruct], Structure]:
        """The leaves of a state, without one to show, and how they hang together."""
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

    def release(self, state: GenerationState, rows: Bool[Array, "R"]) -> GenerationState:
        """Stops these rows: their segments are no longer wanted."""
        return dataclasses.replace(state, live=_release(state.live, rows))

    def resize(self, state: GenerationState, columns: int) -> GenerationState:
        """The same state with room for ``columns`` tokens per row."""
        # Layer by layer: one small program per pair of buckets serves them all.
        return _with_past(
            state, tuple(_resize(columns, layer) for layer in state.cache.self_attention)
        )

    def arrange(self, state: GenerationState, rows: Int32[Array, "Q"]) -> GenerationState:
        """A state of Q rows, each a copy of one of the old, or empty.

        Args:
            state: Not donated: its buffers live on until it is dropped.
            rows: Old rows, counted from the device's first; past its last one: an empty row.
        """
        # Layer by layer again, and the past apart, so that buckets of both kinds do not multiply.
        cache = state.cache
        without = DecoderCache(self_attention=(), cross_attention=())
        arranged = _arrange(self, dataclasses.replace(state, cache=without), rows)
        return dataclasses.replace(
            arranged,
            cache=DecoderCache(
                self_attention=tuple(_arrange(self, its, rows) for its in cache.self_attention),
                cross_attention=tuple(_arrange(self, its, rows) for its in cache.cross_attention),
            ),
        )

    def shard(
        self, function: Callable[..., Any], inputs: tuple[PartitionSpec, ...]
    ) -> Callable[..., Any]:
        """Runs a function on each device with its part of the arguments, without communication."""
        return jax.shard_map(
            function, mesh=self.mesh, in_specs=inputs, out_specs=_ROWS, check_vma=False
        )

    def exact_products(self) -> Any:
        """float32 means float32: GPUs and TPUs otherwise round operands to tf32 or bfloat16."""
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
def _insert(
    steps: Steps,
    state: GenerationState,
    encoded: Encoded,
    rows: Int32[Array, "B"],
    reference: Bool[Array, "B"],
) -> GenerationState:
    def insert(
        state: GenerationState, encoded: Encoded, rows: Array, reference: Array
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
            score=put(state.score, 0.0),
            best_score=put(state.best_score, -jnp.inf),
            length=put(state.length, 0),
        )

    inserted = steps.shard(insert, (_ROWS, _ROWS, _ROWS, _ROWS))(state, encoded, rows, reference)
    return cast("GenerationState", inserted)


# Flat, because shapes alone may not stand in the place of a state's arrays: its fields are checked.
@functools.partial(jax.jit, static_argnums=(0, 1, 2), donate_argnums=4)
def _step(
    steps: Steps, count: int, structure: Structure, parameters: Parameters, leaves: list[Array]
) -> list[Array]:
    def unfinished(carry: tuple[Int32[Array, ""], GenerationState]) -> Bool[Array, ""]:
        done, state = carry
        return (done < count) & jnp.any(state.live)

    def step(parameters: Parameters, state: GenerationState) -> GenerationState:
        def one_token(
            carry: tuple[Int32[Array, ""], GenerationState],
        ) -> tuple[Int32[Array, ""], GenerationState]:
            done, state = carry
            result = steps.network.apply(
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

    with steps.exact_products():
        state = jax.tree.unflatten(structure, leaves)
        return jax.tree.leaves(steps.shard(step, (_ALL, _ROWS))(parameters, state))


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


@jax.jit
def _release(live: Bool[Array, "R"], rows: Bool[Array, "R"]) -> Bool[Array, "R"]:
    return live & ~rows


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
    """The rows of every leaf of a tree in another order."""

    def arrange(rows_of: Any, rows: Array) -> Any:
        def take(leaf: Array) -> Array:
            return leaf.at[rows].get(mode="fill", fill_value=0)

        return jax.tree.map(take, rows_of)

    return steps.shard(arrange, (_ROWS, _ROWS))(rows_of, rows)


def _with_past(state: GenerationState, past: tuple[KeysValues, ...]) -> GenerationState:
    """The state with these self-attention keys and values in the place of its own."""
    return dataclasses.replace(state, cache=dataclasses.replace(state.cache, self_attention=past))
