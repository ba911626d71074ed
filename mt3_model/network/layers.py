"""The T5.1.1 layers that are not attention: projections, norm, MLP, positions.

Parameter names and shapes are those of T5X checkpoints (kernels are stored two-dimensional), so a
published checkpoint loads without renaming. Dropout is left out: these modules only infer.

Source: magenta/mt3 fa04532, layers.py.
"""

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from jax.typing import DTypeLike
from jaxtyping import Array, Float, Float32


def product(
    subscripts: str, left: Float[Array, "..."], right: Float[Array, "..."], dtype: DTypeLike
) -> Float32[Array, "..."]:
    """An einsum of operands in ``dtype``, summed in float32.

    This is the network's one precision: what lies between two products is float32 in any case, so
    that bfloat16 costs 8 bits of the operands and nothing of the sums. It is also the form that
    is fast: on CPUs a bfloat16 product with a bfloat16 result is no faster than a float32 one.
    """
    return jnp.einsum(
        subscripts, left.astype(dtype), right.astype(dtype), preferred_element_type=jnp.float32
    )


class Dense(nn.Module):
    """A linear map of the last axis without bias. Source: layers.py:370 (``DenseGeneral``)."""

    features: int
    dtype: DTypeLike = jnp.float32
    """Of the operands; the sum is float32 (see `product`)."""

    @nn.compact
    def __call__(self, inputs: Float[Array, "*B I"]) -> Float32[Array, "*B O"]:
        """Multiplies by the kernel ``[I, O]``."""
        kernel = self.param(
            "kernel",
            nn.initializers.variance_scaling(1.0, "fan_in", "truncated_normal"),
            (inputs.shape[-1], self.features),
            jnp.float32,
        )
        return product("...i,io->...o", jnp.asarray(inputs), jnp.asarray(kernel), self.dtype)


class RMSNorm(nn.Module):
    """Scale by the root mean square, in float32: no mean, no bias. Source: layers.py:573."""

    epsilon: float

    @nn.compact
    def __call__(self, inputs: Float32[Array, "*B D"]) -> Float32[Array, "*B D"]:
        """``x / sqrt(mean(x^2) + epsilon) * scale``."""
        scale = self.param("scale", nn.initializers.ones, (inputs.shape[-1],), jnp.float32)
        mean_square = jnp.mean(jnp.square(inputs), axis=-1, keepdims=True)
        return inputs * jax.lax.rsqrt(mean_square + self.epsilon) * scale


class GatedMLP(nn.Module):
    """``(gelu(x W0) * x W1) Wo`` with the tanh form of GELU. Source: layers.py:418."""

    width: int
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, inputs: Float32[Array, "*B D"]) -> Float32[Array, "*B D"]:
        """The feed-forward block of one layer."""
        gate = nn.gelu(Dense(self.width, self.dtype, name="wi_0")(inputs), approximate=True)
        linear = Dense(self.width, self.dtype, name="wi_1")(inputs)
        return Dense(inputs.shape[-1], self.dtype, name="wo")(gate * linear)


def position_table(positions: int, width: int) -> Float32[np.ndarray, "L D"]:
    """Fixed sinusoids: the first half of the width sines, the second cosines.

    ``angle(p, i) = p * 10000^(-i / (width/2 - 1))``. Source: layers.py:50-82 (``sinusoidal``).
    """
    half = width // 2
    rates = np.exp(np.arange(half) * (-np.log(10_000.0) / (half - 1)))  # [D / 2]
    angles = np.arange(positions)[:, None] * rates  # [L, D / 2]
    return np.concatenate([np.sin(angles), np.cos(angles)], axis=1).astype(np.float32)
