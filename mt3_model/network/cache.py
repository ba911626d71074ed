"""The key/value cache of the decoder, as one pytree of arrays.

Self-attention writes one column per generated token, each row at its own position. Columns after a
row's position have old values, and attention masks them. Cross-attention columns are written once
per segment, when its encoding is inserted. The number of columns C is a static shape, and grows in
buckets with the longest row.

Each layer has its own arrays, not a slice of a stacked one, so that donated arrays are updated in
place.
"""

import dataclasses

import jax
import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Array, Float

from mt3_model.spec import ModelSpec


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class KeysValues:
    """Keys and values of one layer, each ``[R, H, C, K]``."""

    keys: Float[Array, "R H C K"]
    values: Float[Array, "R H C K"]

    def astype(self, dtype: DTypeLike) -> "KeysValues":
        """Return keys and values ``[R, H, C, K]`` in another precision."""
        return KeysValues(keys=self.keys.astype(dtype), values=self.values.astype(dtype))


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class DecoderCache:
    """The keys and values of all decoder layers, one entry per layer."""

    self_attention: tuple[KeysValues, ...]
    """``[R, H, C, K]``, one column per token."""
    cross_attention: tuple[KeysValues, ...]
    """``[R, H, T, K]``, one column per encoder frame."""


def empty_cache(spec: ModelSpec, rows: int, columns: int, dtype: DTypeLike) -> DecoderCache:
    """Create a cache of zeros.

    Args:
        spec: The model, which sets H, K, T and the number of layers.
        rows: The number of slots, R.
        columns: The number of columns for tokens, C.
        dtype: The precision of the arrays.

    Returns:
        Self-attention ``[R, H, C, K]`` and cross-attention ``[R, H, T, K]`` of every layer.
    """
    network = spec.network

    def zeros(length: int) -> tuple[KeysValues, ...]:
        shape = (rows, network.heads, length, network.head_width)
        return tuple(
            KeysValues(keys=jnp.zeros(shape, dtype), values=jnp.zeros(shape, dtype))
            for _ in range(network.decoder_layers)
        )

    return DecoderCache(self_attention=zeros(columns), cross_attention=zeros(spec.segment_frames))
