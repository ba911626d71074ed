"""Attention as T5.1.1 does it: no bias, no ``1/sqrt(K)``, softmax in float32.

One module serves three uses, which share its four kernels: a whole sequence attending to itself
(encoder, teacher-forced decoder), one new token attending to cached columns (generation), and
queries attending to keys and values computed once (cross-attention).

Source: magenta/mt3 fa04532, layers.py:86-152 and 174-365.
"""

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax.typing import DTypeLike
from jaxtyping import Array, Bool, Float

from mt3_model.network.cache import KeysValues
from mt3_model.network.layers import Dense

MASKED = -1e10
"""Added to the logits of columns that may not be seen. Source: layers.py:330."""


class Attention(nn.Module):
    """Multi-head attention with T5X's parameter names: query, key, value, out."""

    heads: int
    head_width: int
    width: int
    dtype: DTypeLike = jnp.float32

    def setup(self) -> None:
        """Declares the four projections."""
        joined = self.heads * self.head_width
        self.query = Dense(joined, self.dtype)
        self.key = Dense(joined, self.dtype)
        self.value = Dense(joined, self.dtype)
        self.out = Dense(self.width, self.dtype)

    def project(self, inputs: Float[Array, "B T D"]) -> KeysValues:
        """Keys and values ``[B, H, T, K]`` of a sequence."""
        return KeysValues(
            keys=self._split_heads(self.key(inputs)), values=self._split_heads(self.value(inputs))
        )

    def attend(
        self,
        inputs: Float[Array, "B Q D"],
        context: KeysValues,
        mask: Bool[Array, "#B #H #Q C"] | None = None,
    ) -> Float[Array, "B Q D"]:
        """Queries of ``inputs`` over the context's columns; where ``mask`` is false, not seen."""
        query = self._split_heads(self.query(inputs))  # [B, H, Q, K]
        logits = jnp.einsum("bhqk,bhck->bhqc", query, context.keys)
        if mask is not None:
            logits = logits + jnp.where(mask, 0.0, MASKED).astype(logits.dtype)
        weights = jax.nn.softmax(logits.astype(jnp.float32)).astype(self.dtype)
        mixed = jnp.einsum("bhqc,bhck->bhqk", weights, context.values)
        batch, _, queries, _ = mixed.shape
        joined = mixed.transpose(0, 2, 1, 3).reshape(batch, queries, -1)  # [B, Q, H * K]
        return self.out(joined)

    def _split_heads(self, joined: Float[Array, "B T J"]) -> Float[Array, "B H T K"]:
        batch, length, _ = joined.shape
        return joined.reshape(batch, length, self.heads, self.head_width).transpose(0, 2, 1, 3)
