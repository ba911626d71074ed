"""The decoder: one generation step for all slots, or a whole teacher-forced sequence.

Generation runs ``step``: it takes one token per row ``[R]``, writes the cache column at each row's
position and returns logits ``[R, V]``. ``teacher_forced`` computes the logits of known tokens
``[B, L]`` in one pass, for conformance tests. ``project_encoded`` computes the keys and values of
cross-attention once per segment.

Source: magenta/mt3 fa04532, network.py:84-154 and 198-262.
"""

import functools
from typing import Any, cast

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax.typing import DTypeLike
from jaxtyping import Array, Float32, Int

from mt3_model.network.attention import Attention
from mt3_model.network.cache import DecoderCache, KeysValues
from mt3_model.network.layers import Dense, GatedMLP, RMSNorm
from mt3_model.network.positions import position_table
from mt3_model.network.single_query import CachedAttention
from mt3_model.spec import NetworkSpec


class DecoderLayer(nn.Module):
    """Self-attention, cross-attention and MLP, each with pre-normalization and a residual."""

    spec: NetworkSpec
    dtype: DTypeLike = jnp.float32
    cached_attention: CachedAttention = "xla"

    def setup(self) -> None:
        """Declare the submodules with T5X's names."""
        spec = self.spec
        self.pre_self_attention_layer_norm = RMSNorm(spec.norm_epsilon)
        sizes = spec.heads, spec.head_width, spec.width, self.dtype, self.cached_attention
        self.self_attention = Attention(*sizes)
        self.pre_cross_attention_layer_norm = RMSNorm(spec.norm_epsilon)
        self.encoder_decoder_attention = Attention(*sizes)
        self.pre_mlp_layer_norm = RMSNorm(spec.norm_epsilon)
        self.mlp = GatedMLP(spec.mlp_width, self.dtype)

    def project_encoded(self, encoded: Float32[Array, "B T D"]) -> KeysValues:
        """Return the layer's cross-attention keys and values ``[B, H, T, K]``."""
        return self.encoder_decoder_attention.project(encoded)

    def step(
        self,
        x: Float32[Array, "R D"],
        positions: Int[Array, "R"],
        past: KeysValues,
        encoded: KeysValues,
    ) -> tuple[Float32[Array, "R D"], KeysValues]:
        """Process one token per row.

        Args:
            x: ``[R, D]``, one token per row.
            positions: ``[R]``, the column of each row's token, 0 .. C - 1.
            past: Self-attention keys and values ``[R, H, C, K]`` of the tokens before.
            encoded: Cross-attention keys and values ``[R, H, T, K]``.

        Returns:
            The layer's output ``[R, D]``, and ``past`` with one more column per row.
        """
        normed = self.pre_self_attention_layer_norm(x)
        attended, past = self.self_attention.attend_past(normed, past, positions)
        x = x + attended
        normed = self.pre_cross_attention_layer_norm(x)
        frames = jnp.full_like(positions, encoded.keys.shape[2])
        x = x + self.encoder_decoder_attention.attend_cached(normed, encoded, frames)
        return x + self.mlp(self.pre_mlp_layer_norm(x)), past

    def teacher_forced(
        self, x: Float32[Array, "B L D"], encoded: KeysValues
    ) -> Float32[Array, "B L D"]:
        """Process all positions ``[B, L, D]`` at once, with a causal mask.

        ``encoded`` has the cross-attention keys and values ``[B, H, T, K]``.
        """
        normed = self.pre_self_attention_layer_norm(x)
        length = x.shape[1]
        causal = jnp.tril(jnp.ones((length, length), bool))[None, None]  # [1, 1, L, L]
        x = x + self.self_attention.attend(normed, self.self_attention.project(normed), causal)
        normed = self.pre_cross_attention_layer_norm(x)
        x = x + self.encoder_decoder_attention.attend(normed, encoded)
        return x + self.mlp(self.pre_mlp_layer_norm(x))


class Decoder(nn.Module):
    """The stack of decoder layers, from tokens to logits."""

    spec: NetworkSpec
    dtype: DTypeLike = jnp.float32
    cached_attention: CachedAttention = "xla"

    def setup(self) -> None:
        """Declare the submodules with T5X's names."""
        spec = self.spec
        self.token_embedder = nn.Embed(spec.vocabulary_size, spec.width)
        self.layers = [
            DecoderLayer(spec, self.dtype, self.cached_attention)
            for _ in range(spec.decoder_layers)
        ]
        self.decoder_norm = RMSNorm(spec.norm_epsilon)
        self.logits_dense = Dense(spec.vocabulary_size, self.dtype)

    def project_encoded(self, encoded: Float32[Array, "B T D"]) -> tuple[KeysValues, ...]:
        """Return the cross-attention keys and values ``[B, H, T, K]`` of every layer."""
        with jax.named_scope("project_encoded"):
            return tuple(layer.project_encoded(encoded) for layer in self.layers)

    def step(
        self,
        tokens: Int[Array, "R"],
        positions: Int[Array, "R"],
        cache: DecoderCache,
    ) -> tuple[Float32[Array, "R V"], DecoderCache]:
        """Run one generation step.

        Args:
            tokens: ``[R]``, the previous token of each row; 0 at position 0.
            positions: ``[R]``, the position of each row, 0 .. C - 1.
            cache: The cache with the columns before these positions.

        Returns:
            Float32 logits ``[R, V]`` of the next token, and the cache with one more column per row.
        """
        with jax.named_scope("generate"):
            table = jnp.asarray(position_table(self.spec.max_positions, self.spec.width))
            x = self.token_embedder(tokens) + table[positions]  # [R, D]
            written: list[KeysValues] = []
            stateless = DecoderLayer(self.spec, self.dtype, self.cached_attention, parent=None)
            for layer, past, encoded in zip(
                self.layers, cache.self_attention, cache.cross_attention, strict=True
            ):
                parameters = layer.variables["params"]
                x, past_written = _layer_step(stateless, parameters, x, positions, past, encoded)
                written.append(past_written)
            logits = self.logits_dense(self.decoder_norm(x))
            return logits, DecoderCache(
                self_attention=tuple(written), cross_attention=cache.cross_attention
            )

    def teacher_forced(
        self, tokens: Int[Array, "B L"], encoded: Float32[Array, "B T D"]
    ) -> Float32[Array, "B L V"]:
        """Return logits ``[B, L, V]``, each position given the true tokens before it.

        Args:
            tokens: ``[B, L]``, the true tokens.
            encoded: ``[B, T, D]``, the encoder's output.
        """
        shifted = jnp.pad(tokens, ((0, 0), (1, 0)))[:, :-1]
        positions = position_table(tokens.shape[1], self.spec.width)
        x = self.token_embedder(shifted) + positions
        for layer, context in zip(self.layers, self.project_encoded(encoded), strict=True):
            x = layer.teacher_forced(x, context)
        return self.logits_dense(self.decoder_norm(x))


@functools.partial(jax.jit, static_argnums=0)
def _layer_step(  # noqa: PLR0917 (static arguments are by position)
    layer: DecoderLayer,
    parameters: Any,
    x: Float32[Array, "R D"],
    positions: Int[Array, "R"],
    past: KeysValues,
    encoded: KeysValues,
) -> tuple[Float32[Array, "R D"], KeysValues]:
    """Run `DecoderLayer.step` on ``x [R, D]``.

    Jitted so that it is traced once for all layers, which are identical; tracing each layer takes
    half of the time of a warm start.
    """
    stepped = layer.apply(
        {"params": parameters}, x, positions, past, encoded, method=DecoderLayer.step
    )
    return cast("tuple[Array, KeysValues]", stepped)
