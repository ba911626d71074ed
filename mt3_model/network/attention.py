"""T5.1.1 attention: no bias and no scaling by ``1/sqrt(K)``.

The module has two forms of attention that share its four kernels. In `attend`, a whole sequence
attends to itself or to another sequence (encoder, teacher-forced decoder). In `attend_cached`, one
new token per row attends to cached columns of its past or of its segment (generation).

Source: magenta/mt3 fa04532, layers.py:86-152 and 174-365.
"""

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax.typing import DTypeLike
from jaxtyping import Array, Bool, Float32, Int32

from mt3_model.network.cache import KeysValues
from mt3_model.network.layers import Dense, product
from mt3_model.network.single_query import MASKED, CachedAttention, attend_cached, write_column


class Attention(nn.Module):
    """Multi-head attention with T5X's parameter names: query, key, value, out."""

    heads: int
    head_width: int
    width: int
    dtype: DTypeLike = jnp.float32
    cached_attention: CachedAttention = "xla"

    def setup(self) -> None:
        """Declare the four projections."""
        joined = self.heads * self.head_width
        self.query = Dense(joined, self.dtype)
        self.key = Dense(joined, self.dtype)
        self.value = Dense(joined, self.dtype)
        self.out = Dense(self.width, self.dtype)

    def project(self, inputs: Float32[Array, "B T D"]) -> KeysValues:
        """Project a sequence ``[B, T, D]`` to float32 keys and values ``[B, H, T, K]``."""
        return KeysValues(
            keys=self._split_heads(self.key(inputs)), values=self._split_heads(self.value(inputs))
        )

    def attend(
        self,
        inputs: Float32[Array, "B Q D"],
        context: KeysValues,
        mask: Bool[Array, "#B #H #Q C"] | None = None,
    ) -> Float32[Array, "B Q D"]:
        """Attend from every position of the inputs to the columns of the context.

        Products are computed in the precision of the context's arrays.

        Args:
            inputs: ``[B, Q, D]``, one query per position.
            context: Keys and values ``[B, H, C, K]``.
            mask: ``[B, H, Q, C]``, false for columns that a query must not see; None to see all.

        Returns:
            ``[B, Q, D]`` in float32.
        """
        dtype = context.keys.dtype
        query = self._split_heads(self.query(inputs))  # [B, H, Q, K]
        logits = product("bhqk,bhck->bhqc", query, context.keys, dtype)
        if mask is not None:
            logits = logits + jnp.where(mask, 0.0, MASKED)
        mixed = product("bhqc,bhck->bhqk", jax.nn.softmax(logits), context.values, dtype)
        batch, _, queries, _ = mixed.shape
        joined = mixed.transpose(0, 2, 1, 3).reshape(batch, queries, -1)  # [B, Q, H * K]
        return self.out(joined)

    def attend_past(
        self, inputs: Float32[Array, "R D"], past: KeysValues, positions: Int32[Array, "R"]
    ) -> tuple[Float32[Array, "R D"], KeysValues]:
        """Attend from one token per row to itself and to those before it.

        Args:
            inputs: ``[R, D]``, one token per row.
            past: Keys and values ``[R, H, C, K]`` of the tokens before.
            positions: ``[R]``, the column of each row's token, 0 .. C - 1.

        Returns:
            ``[R, D]`` in float32, and ``past`` with one more column per row.
        """
        if self.cached_attention == "triton":
            from mt3_model.network import gpu_attention  # noqa: PLC0415 (imports half a second)

            mixed, past = gpu_attention.attend_past(self._project_token(inputs), past, positions)
            return self.out(mixed.reshape(inputs.shape[0], -1)), past
        past = write_column(past, self.project(inputs[:, None, :]), positions)
        return self.attend_cached(inputs, past, positions + 1), past

    def attend_cached(
        self, inputs: Float32[Array, "R D"], cached: KeysValues, used: Int32[Array, "R"]
    ) -> Float32[Array, "R D"]:
        """Attend from one token per row to the first columns of the row's cache.

        Args:
            inputs: ``[R, D]``, one token per row.
            cached: Keys and values ``[R, H, C, K]``.
            used: ``[R]``, the number of columns that each row sees, 1 .. C.

        Returns:
            ``[R, D]`` in float32.
        """
        query = self.query(inputs).reshape(-1, self.heads, self.head_width)  # [R, H, K]
        if self.cached_attention == "triton":
            from mt3_model.network import gpu_attention  # noqa: PLC0415 (imports half a second)

            mixed = gpu_attention.attend_cached(query, cached, used)
        else:
            mixed = attend_cached(query, cached, used)
        return self.out(mixed.reshape(inputs.shape[0], -1))

    def _project_token(self, inputs: Float32[Array, "R D"]) -> Float32[Array, "R 3 H K"]:
        """Project one token per row to its query, key and value, in one product."""
        parts = (self.query, self.key, self.value)
        kernels = [part.variables["params"]["kernel"] for part in parts]
        joined = product("rd,dj->rj", inputs, jnp.concatenate(kernels, axis=1), self.dtype)
        return joined.reshape(-1, len(parts), self.heads, self.head_width)

    def _split_heads(self, joined: Float32[Array, "B T J"]) -> Float32[Array, "B H T K"]:
        batch, length, _ = joined.shape
        return joined.reshape(batch, length, self.heads, self.head_width).transpose(0, 2, 1, 3)
