"""Attention as T5.1.1 does it: no bias, no ``1/sqrt(K)``.

One module serves both uses, which share its four kernels: a sequence attending to itself or to
another one (`attend`: encoder, teacher-forced decoder), and one new token attending to the columns
kept of its past or of its segment (`attend_to_kept`: generation).

Source: magenta/mt3 fa04532, layers.py:86-152 and 174-365.
"""

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax.typing import DTypeLike
from jaxtyping import Array, Bool, Float32, Int32

from mt3_model.network.cache import KeysValues
from mt3_model.network.layers import Dense, product
from mt3_model.network.single_query import MASKED, attend_to_kept


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

    def project(self, inputs: Float32[Array, "B T D"]) -> KeysValues:
        """Keys and values ``[B, H, T, K]`` of a sequence, in float32."""
        return KeysValues(
            keys=self._split_heads(self.key(inputs)), values=self._split_heads(self.value(inputs))
        )

    def attend(
        self,
        inputs: Float32[Array, "B Q D"],
        context: KeysValues,
        mask: Bool[Array, "#B #H #Q C"] | None = None,
    ) -> Float32[Array, "B Q D"]:
        """Queries of ``inputs`` over the context's columns; where ``mask`` is false, not seen.

        Products are in the precision in which the context is kept.
        """
        kept = context.keys.dtype
        query = self._split_heads(self.query(inputs))  # [B, H, Q, K]
        logits = product("bhqk,bhck->bhqc", query, context.keys, kept)
        if mask is not None:
            logits = logits + jnp.where(mask, 0.0, MASKED)
        mixed = product("bhqc,bhck->bhqk", jax.nn.softmax(logits), context.values, kept)
        batch, _, queries, _ = mixed.shape
        joined = mixed.transpose(0, 2, 1, 3).reshape(batch, queries, -1)  # [B, Q, H * K]
        return self.out(joined)

    def attend_to_kept(
        self, inputs: Float32[Array, "R D"], kept: KeysValues, used: Int32[Array, "R"]
    ) -> Float32[Array, "R D"]:
        """One query per row over the row's first ``used`` columns."""
        query = self.query(inputs).reshape(-1, self.heads, self.head_width)
        mixed = attend_to_kept(query, kept, used)
        return self.out(mixed.reshape(inputs.shape[0], -1))

    def _split_heads(self, joined: Float32[Array, "B T J"]) -> Float32[Array, "B H T K"]:
        batch, length, _ = joined.shape
        return joined.reshape(batch, length, self.heads, self.head_width).transpose(0, 2, 1, 3)
