"""The encoder, log-mel [B, T, F] -> encoded [B, T, D]: a projection, positions, T5.1.1 layers.

There is no mask: as in the original, the encoder sees the padding of a short last segment.

Source: magenta/mt3 fa04532, network.py:42-81 and 157-195.
"""

import functools
from typing import Any, cast

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax.typing import DTypeLike
from jaxtyping import Array, Float32

from mt3_model.network.attention import Attention
from mt3_model.network.layers import Dense, GatedMLP, RMSNorm
from mt3_model.network.positions import position_table
from mt3_model.spec import NetworkSpec


class EncoderLayer(nn.Module):
    """Self-attention and MLP, each with pre-normalization and a residual."""

    spec: NetworkSpec
    dtype: DTypeLike = jnp.float32

    def setup(self) -> None:
        """Declare the submodules with T5X's names."""
        spec = self.spec
        self.pre_attention_layer_norm = RMSNorm(spec.norm_epsilon)
        self.attention = Attention(spec.heads, spec.head_width, spec.width, self.dtype)
        self.pre_mlp_layer_norm = RMSNorm(spec.norm_epsilon)
        self.mlp = GatedMLP(spec.mlp_width, self.dtype)

    def __call__(self, x: Float32[Array, "B T D"]) -> Float32[Array, "B T D"]:
        """Apply the layer to ``x [B, T, D]``."""
        normed = self.pre_attention_layer_norm(x)
        x = x + self.attention.attend(normed, self.attention.project(normed).astype(self.dtype))
        return x + self.mlp(self.pre_mlp_layer_norm(x))


class Encoder(nn.Module):
    """The stack of encoder layers."""

    spec: NetworkSpec
    dtype: DTypeLike = jnp.float32

    def setup(self) -> None:
        """Declare the submodules with T5X's names."""
        self.continuous_inputs_projection = Dense(self.spec.width, self.dtype)
        self.layers = [EncoderLayer(self.spec, self.dtype) for _ in range(self.spec.encoder_layers)]
        self.encoder_norm = RMSNorm(self.spec.norm_epsilon)

    def __call__(self, logmel: Float32[Array, "B T F"]) -> Float32[Array, "B T D"]:
        """Encode log-mel segments ``[B, T, F]`` independently, to ``[B, T, D]``."""
        with jax.named_scope("encode"):
            positions = position_table(logmel.shape[1], self.spec.width)
            x = self.continuous_inputs_projection(logmel) + positions
            stateless = EncoderLayer(self.spec, self.dtype, parent=None)
            for layer in self.layers:
                if self.is_initializing():
                    x = layer(x)
                else:
                    x = _encode_layer(stateless, layer.variables["params"], x)
            return self.encoder_norm(x)


@functools.partial(jax.jit, static_argnums=0)
def _encode_layer(
    layer: EncoderLayer, parameters: Any, x: Float32[Array, "B T D"]
) -> Float32[Array, "B T D"]:
    """Apply an `EncoderLayer` to ``x [B, T, D]``.

    Jitted so that it is traced once for all layers, which are identical; tracing each layer takes a
    tenth of the time of a warm start.
    """
    return cast("Array", layer.apply({"params": parameters}, x))
