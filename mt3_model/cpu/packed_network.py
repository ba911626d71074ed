"""The network's parameters as the CPU's programs read them (`kernels/`), and calls of these.

A kernel ``[I, O]`` becomes panels of 32 outputs, one after the other as they are used, each
``[I / 2, 32, 2]`` in bfloat16: the processor multiplies pairs of inputs. What is multiplied with
the same input is one kernel: query, key and value; both halves of the gated MLP.
"""

import dataclasses
from collections.abc import Iterator, Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float32, Int32, Int64, UInt16

from mt3_model.cpu.kernels.decoder import step_rows
from mt3_model.cpu.kernels.encoder import encode_segment
from mt3_model.cpu.kernels.vectors import PANEL
from mt3_model.network.layers import position_table
from mt3_model.spec import NetworkSpec

_CACHE_LINE = 64
"""Bytes; a load of a register that crosses lines takes two."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class KeptColumns:
    """Where each row's keys and values lie: bfloat16 ``[H, C, K]``, by address."""

    past: Int64[np.ndarray, "R layers 2"]
    columns: Int64[np.ndarray, "R"]
    """C of each row's past."""
    encoded: Int64[np.ndarray, "R layers 2"]
    frames: int
    """C of what was encoded."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class PackedParameters:
    """Of one half of the network."""

    kernels: UInt16[np.ndarray, "numbers"]
    norms: Float32[np.ndarray, "norms D"]
    """Scales in order of use."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class PackedNetwork:
    """One model, ready to encode and to step. Calls run on their thread, without Python's lock."""

    spec: NetworkSpec
    encoder: PackedParameters
    """And what makes cross-attention's keys and values."""
    decoder: PackedParameters
    embedding: Float32[np.ndarray, "V D"]
    positions: Float32[np.ndarray, "L D"]

    def encode(
        self, logmel: Float32[np.ndarray, "T F"], into: UInt16[np.ndarray, "layers 2 H T K"]
    ) -> None:
        """Cross-attention keys and values of one segment.

        Args:
            logmel: Contiguous.
            into: Written: those of every decoder layer, in bfloat16.
        """
        spec = self.spec
        encode_segment(
            logmel,
            addresses_of(into),
            (
                spec.encoder_layers,
                spec.decoder_layers,
                spec.heads,
                spec.head_width,
                spec.mlp_width,
            ),
            np.float32(spec.norm_epsilon),
            self.encoder.kernels,
            self.encoder.norms,
            self.positions,
        )

    def step(
        self,
        rows: Int64[np.ndarray, "M"],
        tokens: Int32[np.ndarray, "R"],
        positions: Int32[np.ndarray, "R"],
        kept: KeptColumns,
    ) -> tuple[Float32[np.ndarray, "M V"], Float32[np.ndarray, "M"]]:
        """One generation step of some rows.

        Args:
            rows: Which of the R.
            tokens: The token before the one to be predicted; 0 at position 0.
            positions: Where each row stands, below its past's columns.
            kept: Written: each row's column at its position.

        Returns:
            Logits of the next token, and of each row ``log(sum(exp(logits)))``.
        """
        spec = self.spec
        logits = np.empty((len(rows), _padded(spec.vocabulary_size)), np.float32)
        normalizers = np.empty(len(rows), np.float32)
        step_rows(
            rows,
            tokens,
            positions,
            kept.past,
            kept.columns,
            kept.encoded,
            (spec.decoder_layers, spec.heads, spec.head_width, spec.mlp_width, kept.frames),
            np.float32(spec.norm_epsilon),
            self.decoder.kernels,
            self.decoder.norms,
            self.embedding,
            self.positions,
            logits,
            normalizers,
        )
        return logits[:, : spec.vocabulary_size], normalizers


def addresses_of(
    keys_values: UInt16[np.ndarray, "layers 2 H C K"],
) -> Int64[np.ndarray, "layers 2"]:
    """Where the keys and the values of each layer begin."""
    layers, kinds = keys_values.strides[:2]
    numbers = np.arange(keys_values.shape[0])[:, None]
    return keys_values.ctypes.data + numbers * layers + np.arange(2) * kinds


def pack_network(parameters: Any, spec: NetworkSpec) -> PackedNetwork:
    """Lays the parameters out.

    Args:
        parameters: The parameter tree, arrays of the host in float32.
        spec: Of the network; its widths are even.
    """
    encoder, decoder = parameters["encoder"], parameters["decoder"]
    encoder_layers = [encoder[f"layers_{number}"] for number in range(spec.encoder_layers)]
    decoder_layers = [decoder[f"layers_{number}"] for number in range(spec.decoder_layers)]
    norms = ("pre_attention_layer_norm", "pre_mlp_layer_norm")
    pre = ("pre_self_attention_layer_norm", "pre_cross_attention_layer_norm", "pre_mlp_layer_norm")
    return PackedNetwork(
        spec=spec,
        encoder=_pack(
            [
                _joined(encoder["continuous_inputs_projection"]),
                *(kernel for layer in encoder_layers for kernel in _of_encoder_layer(layer)),
                *(_joined(*_both(layer["encoder_decoder_attention"])) for layer in decoder_layers),
            ],
            [
                *(layer[name] for layer in encoder_layers for name in norms),
                encoder["encoder_norm"],
            ],
        ),
        decoder=_pack(
            [
                *(kernel for layer in decoder_layers for kernel in _of_decoder_layer(layer)),
                _joined(decoder["logits_dense"]),
            ],
            [*(layer[name] for layer in decoder_layers for name in pre), decoder["decoder_norm"]],
        ),
        embedding=np.array(decoder["token_embedder"]["embedding"], np.float32),
        positions=position_table(spec.max_positions, spec.width),
    )


def _of_encoder_layer(layer: Any) -> Iterator[Float32[np.ndarray, "I O"]]:
    """A layer's kernels in order of use."""
    yield from _of_attention(layer["attention"])
    yield from _of_mlp(layer["mlp"])


def _of_decoder_layer(layer: Any) -> Iterator[Float32[np.ndarray, "I O"]]:
    """A layer's kernels in order of use, without those of `_of_encoder_layer`'s end."""
    yield from _of_attention(layer["self_attention"])
    yield _joined(layer["encoder_decoder_attention"]["query"])
    yield _joined(layer["encoder_decoder_attention"]["out"])
    yield from _of_mlp(layer["mlp"])


def _of_attention(its: Any) -> Iterator[Float32[np.ndarray, "I O"]]:
    yield _joined(its["query"], *_both(its))
    yield _joined(its["out"])


def _of_mlp(its: Any) -> Iterator[Float32[np.ndarray, "I O"]]:
    yield _joined(its["wi_0"], its["wi_1"])
    yield _joined(its["wo"])


def _both(attention: Any) -> tuple[Any, Any]:
    return attention["key"], attention["value"]


def _joined(*parts: Any) -> Float32[np.ndarray, "I O"]:
    """Kernels of the same input as one."""
    return np.concatenate([np.asarray(part["kernel"], np.float32) for part in parts], axis=1)


def _pack(kernels: Sequence[Any], norms: Sequence[Any]) -> PackedParameters:
    sizes = [kernel.shape[0] * _padded(kernel.shape[1]) for kernel in kernels]
    packed = _aligned(sum(sizes))
    at = 0
    for kernel, size in zip(kernels, sizes, strict=True):
        packed[at : at + size] = _in_panels(kernel)
        at += size
    scales = [np.asarray(norm["scale"], np.float32) for norm in norms]
    return PackedParameters(kernels=packed, norms=np.stack(scales))


def _in_panels(kernel: Float32[np.ndarray, "I O"]) -> UInt16[np.ndarray, "numbers"]:
    inputs, outputs = kernel.shape
    rounded = np.zeros((inputs, _padded(outputs)), np.uint16)
    rounded[:, :outputs] = kernel.astype(jnp.bfloat16).view(np.uint16)
    panels = rounded.reshape(inputs // 2, 2, -1, PANEL)
    return panels.transpose(2, 0, 3, 1).ravel()  # [panels, I / 2, PANEL, 2]


def _padded(columns: int) -> int:
    return -(-columns // PANEL) * PANEL


def _aligned(count: int) -> UInt16[np.ndarray, "numbers"]:
    """Room for as many, from the start of a cache line."""
    room = np.empty(count + _CACHE_LINE, np.uint16)
    first = -room.ctypes.data % _CACHE_LINE // room.itemsize
    return room[first : first + count]
