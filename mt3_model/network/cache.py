"""Keys and values kept between generation steps, as one pytree of arrays.

Self-attention fills one column per generated token, each row at its own position; columns past a
row's position hold whatever was there before and are masked by the attention. Cross-attention is
written once per segment, when its encoding is inserted. The number of columns C is a static shape:
it grows in buckets with what is used, never straight to the maximum.

Per layer there is one array, not a stacked one, so that each is updated in place when donated.
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
    """Keys and values of one layer, heads before positions."""

    keys: Float[Array, "R H C K"]
    values: Float[Array, "R H C K"]

    def astype(self, dtype: DTypeLike) -> "KeysValues":
        """The same in another precision."""
        return KeysValues(keys=self.keys.astype(dtype), values=self.values.astype(dtype))


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class DecoderCache:
    """What every decoder layer remembers; one entry per layer."""

    self_attention: tuple[KeysValues, ...]
    """``[R, H, C, K]``: C columns, one per token."""
    cross_attention: tuple[KeysValues, ...]
    """``[R, H, T, K]``: one column per encoder frame."""


def empty_cache(spec: ModelSpec, rows: int, columns: int, dtype: DTypeLike) -> DecoderCache:
    """Zeros for ``rows`` slots and ``columns`` tokens."""
    network = spec.network

    def zeros(length: int) -> tuple[KeysValues, ...]:
        shape = (rows, network.heads, length, network.head_width)
        return tuple(
            KeysValues(keys=jnp.zeros(shape, dtype), values=jnp.zeros(shape, dtype))
            for _ in range(network.decoder_layers)
        )

    return DecoderCache(self_attention=zeros(columns), cross_attention=zeros(spec.segment_frames))
