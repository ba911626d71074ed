"""The T5.1.1 layers other than attention: projections, normalization, MLP.

Parameter names and shapes are those of T5X checkpoints (kernels are stored two-dimensional), so a
published checkpoint loads without renaming. There is no dropout, because the modules are used for
inference only.

Source: magenta/mt3 fa04532, layers.py.
"""

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax.typing import DTypeLike
from jaxtyping import Array, Float, Float32


def product(
    subscripts: str, left: Float[Array, "..."], right: Float[Array, "..."], dtype: DTypeLike
) -> Float32[Array, "..."]:
    """Compute an einsum with operands in ``dtype`` and sums in float32.

    Only the operands of products use the network's precision; everything between two products is
    float32. So bfloat16 rounds the operands to 8 bits, but not the sums. This form is also fast: on
    CPUs a bfloat16 product with a bfloat16 result is no faster than a float32 one.

    Args:
        subscripts: The einsum's subscripts, which set the shapes.
        left: The first operand, of any shape.
        right: The second operand, of any shape.
        dtype: The precision of the operands.
    """
    return jnp.einsum(
        subscripts, left.astype(dtype), right.astype(dtype), preferred_element_type=jnp.float32
    )


class Dense(nn.Module):
    """A linear map of the last axis, without bias. Source: layers.py:370 (``DenseGeneral``)."""

    features: int
    dtype: DTypeLike = jnp.float32
    """The precision of the operands; the sum is float32 (see `product`)."""

    @nn.compact
    def __call__(self, inputs: Float[Array, "*B I"]) -> Float32[Array, "*B O"]:
        """Multiply ``[..., I]`` by the kernel ``[I, O]``; return float32 ``[..., O]``."""
        kernel = self.param(
            "kernel",
            nn.initializers.variance_scaling(1.0, "fan_in", "truncated_normal"),
            (inputs.shape[-1], self.features),
            jnp.float32,
        )
        return product("...i,io->...o", jnp.asarray(inputs), jnp.asarray(kernel), self.dtype)


class RMSNorm(nn.Module):
    """Normalization by the root mean square, in float32, without mean and bias.

    Source: layers.py:573.
    """

    epsilon: float

    @nn.compact
    def __call__(self, inputs: Float32[Array, "*B D"]) -> Float32[Array, "*B D"]:
        """Return ``x / sqrt(mean(x^2) + epsilon) * scale`` for ``x [..., D]``."""
        scale = self.param("scale", nn.initializers.ones, (inputs.shape[-1],), jnp.float32)
        mean_square = jnp.mean(jnp.square(inputs), axis=-1, keepdims=True)
        return inputs * jax.lax.rsqrt(mean_square + self.epsilon) * scale


class GatedMLP(nn.Module):
    """The gated MLP ``(gelu(x W0) * x W1) Wo``, GELU in its tanh form. Source: layers.py:418."""

    width: int
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, inputs: Float32[Array, "*B D"]) -> Float32[Array, "*B D"]:
        """Apply the MLP to ``[..., D]``."""
        gate = nn.gelu(Dense(self.width, self.dtype, name="wi_0")(inputs), approximate=True)
        linear = Dense(self.width, self.dtype, name="wi_1")(inputs)
        return Dense(inputs.shape[-1], self.dtype, name="wo")(gate * linear)
