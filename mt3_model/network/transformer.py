"""Encoder and decoder joined, as T5X's parameter tree joins them.

Source: magenta/mt3 fa04532, network.py:265-410.
"""

import jax.numpy as jnp
from flax import linen as nn
from jax.typing import DTypeLike
from jaxtyping import Array, Float32, Int

from mt3_model.network.cache import DecoderCache, KeysValues
from mt3_model.network.decoder import Decoder
from mt3_model.network.encoder import Encoder
from mt3_model.spec import NetworkSpec


class Transformer(nn.Module):
    """The whole network; its parameters are those of a T5X checkpoint, name for name."""

    spec: NetworkSpec
    dtype: DTypeLike = jnp.float32
    """Of the operands of products; all else is float32 (`layers.product`)."""

    def setup(self) -> None:
        """Declares the two halves under T5X's names."""
        self.encoder = Encoder(self.spec, self.dtype)
        self.decoder = Decoder(self.spec, self.dtype)

    def __call__(
        self, logmel: Float32[Array, "B T F"], tokens: Int[Array, "B L"]
    ) -> Float32[Array, "B L V"]:
        """Teacher-forced logits of known tokens."""
        return self.decoder.teacher_forced(tokens, self.encoder(logmel))

    def encode(self, logmel: Float32[Array, "B T F"]) -> Float32[Array, "B T D"]:
        """The encoder's output."""
        return self.encoder(logmel)

    def encode_for_generation(self, logmel: Float32[Array, "B T F"]) -> tuple[KeysValues, ...]:
        """What generation needs of a segment: cross-attention keys and values of every layer."""
        return self.decoder.project_encoded(self.encoder(logmel))

    def step(
        self,
        tokens: Int[Array, "R"],
        positions: Int[Array, "R"],
        cache: DecoderCache,
    ) -> tuple[Float32[Array, "R V"], DecoderCache]:
        """One generation step for all slots."""
        return self.decoder.step(tokens, positions, cache)
