"""The whole network: encoder and decoder in one module.

Source: magenta/mt3 fa04532, network.py:265-410.
"""

import jax.numpy as jnp
from flax import linen as nn
from jax.typing import DTypeLike
from jaxtyping import Array, Float32, Int

from mt3_model.network.cache import DecoderCache, KeysValues
from mt3_model.network.decoder import Decoder
from mt3_model.network.encoder import Encoder
from mt3_model.network.single_query import CachedAttention
from mt3_model.spec import NetworkSpec


class Transformer(nn.Module):
    """Encoder and decoder, with the parameter names of a T5X checkpoint."""

    spec: NetworkSpec
    dtype: DTypeLike = jnp.float32
    """The precision of the operands of products; everything else is float32 (`layers.product`)."""
    cached_attention: CachedAttention = "xla"
    """The implementation of attention in generation."""

    def setup(self) -> None:
        """Declare encoder and decoder with T5X's names."""
        self.encoder = Encoder(self.spec, self.dtype)
        self.decoder = Decoder(self.spec, self.dtype, self.cached_attention)

    def __call__(
        self, logmel: Float32[Array, "B T F"], tokens: Int[Array, "B L"]
    ) -> Float32[Array, "B L V"]:
        """Return the logits ``[B, L, V]`` of known tokens, teacher-forced.

        Args:
            logmel: ``[B, T, F]``, the log-mel of each segment.
            tokens: ``[B, L]``, the true tokens of each segment.
        """
        return self.decoder.teacher_forced(tokens, self.encoder(logmel))

    def encode_for_generation(self, logmel: Float32[Array, "B T F"]) -> tuple[KeysValues, ...]:
        """Return the cross-attention keys and values ``[B, H, T, K]`` of every layer.

        Args:
            logmel: ``[B, T, F]``, the log-mel of each segment.
        """
        return self.decoder.project_encoded(self.encoder(logmel))

    def step(
        self,
        tokens: Int[Array, "R"],
        positions: Int[Array, "R"],
        cache: DecoderCache,
    ) -> tuple[Float32[Array, "R V"], DecoderCache]:
        """Run one generation step for all slots: see `Decoder.step`.

        Args:
            tokens: ``[R]``, the previous token of each row.
            positions: ``[R]``, the position of each row.
            cache: The cache with the columns before these positions.

        Returns:
            Logits ``[R, V]`` of the next token, and the cache with one more column per row.
        """
        return self.decoder.step(tokens, positions, cache)
