"""The network's parameters in the layout of the CPU's programs (`kernels/`), and calls of these.

A kernel ``[I, O]`` is stored as panels of `PANEL` outputs, one after the other as they are used:
``[I, PANEL]`` in float32, ``[I / 2, PANEL, 2]`` in bfloat16, because a product reads 32-bit words.
Kernels that are multiplied with the same input are one: query, key and value; both halves of the
gated MLP.
"""

import concurrent.futures
import dataclasses
from collections.abc import Iterator, Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float32, Int32, Int64, UInt16

from mt3_model.cpu.kernels import decoder, encoder, row_selection
from mt3_model.cpu.kernels.vectors import PANEL
from mt3_model.network.positions import position_table
from mt3_model.notes.transcription import Precision
from mt3_model.spec import NetworkSpec

_CACHE_LINE = 64
"""Bytes; a load of a register that crosses two lines takes twice as long."""
_WORD_BYTES = 4

Stored = Float32[np.ndarray, "..."] | UInt16[np.ndarray, "..."]
"""Numbers as they are stored: float32, or bfloat16 as uint16."""


def stored_dtype(precision: Precision) -> "np.dtype[Any]":
    """Return the dtype of kernels, keys and values: float32, or uint16 for bfloat16."""
    return np.dtype(np.float32 if precision == "float32" else np.uint16)


def compile_programs(precision: Precision) -> None:
    """Compile the three programs for this precision, or find them on disk."""
    stored = stored_dtype(precision).name
    encoder.encode_segment.compile(encoder.SIGNATURE.format(stored=stored))
    decoder.step_rows.compile(decoder.SIGNATURE.format(stored=stored))
    row_selection.select_rows.compile(row_selection.SIGNATURE)


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class KeptColumns:
    """Addresses of each row's keys and values ``[H, C, K]``."""

    past: Int64[np.ndarray, "R layers 2"]
    columns: Int64[np.ndarray, "R"]
    """C of each row's past: tokens that it has room for."""
    encoded: Int64[np.ndarray, "R layers 2"]
    frames: int
    """C of the encoded segments."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class PackedParameters:
    """The parameters of one half of the network."""

    kernels: Stored
    norms: Float32[np.ndarray, "norms D"]
    """The norms' scales in order of use."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class PackedNetwork:
    """One model, ready to encode and to step. Calls run on the caller's thread without the GIL."""

    spec: NetworkSpec
    encoder: PackedParameters
    """The encoder, and the kernels that make cross-attention's keys and values."""
    decoder: PackedParameters
    embedding: Float32[np.ndarray, "V D"]
    positions: Float32[np.ndarray, "L D"]

    def encode(self, logmel: Float32[np.ndarray, "T F"], into: Stored) -> None:
        """Compute the cross-attention keys and values of one segment.

        Args:
            logmel: The segment's log-mel ``[T, F]``, contiguous.
            into: Written ``[layers, 2, H, T, K]``: keys and values of every decoder layer.
        """
        spec = self.spec
        encoder.encode_segment(
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
        """Run one generation step of some rows.

        Args:
            rows: Indices of the rows to step, out of R.
            tokens: The token before the one to be predicted; 0 at position 0.
            positions: Position of each row's next token, less than the columns of its past.
            kept: Keys and values; each row's column at its position is written.

        Returns:
            Logits of the next tokens, and ``log(sum(exp(logits)))`` of each row.
        """
        spec = self.spec
        logits = np.empty((len(rows), _padded(spec.vocabulary_size)), np.float32)
        normalizers = np.empty(len(rows), np.float32)
        decoder.step_rows(
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


def addresses_of(keys_values: Stored) -> Int64[np.ndarray, "layers 2"]:
    """Return the addresses of each layer's keys and values, of ``[layers, 2, H, C, K]``."""
    layers, kinds = keys_values.strides[:2]
    numbers = np.arange(keys_values.shape[0])[:, None]
    return keys_values.ctypes.data + numbers * layers + np.arange(2) * kinds


def pack_network(parameters: Any, spec: NetworkSpec, precision: Precision) -> PackedNetwork:
    """Copy the parameters into the layout that the programs read.

    Args:
        parameters: The parameter tree, arrays of the host in float32.
        spec: The network's sizes; its widths are even.
        precision: Precision in which kernels are stored.
    """
    dtype = stored_dtype(precision)
    trees = parameters["encoder"], parameters["decoder"]
    with concurrent.futures.ThreadPoolExecutor(1, "packing") as thread:  # NumPy copies without GIL
        encoder_half = thread.submit(_pack_encoder, *trees, spec, dtype)
        decoder_half = _pack_decoder(trees[1], spec, dtype)
        return PackedNetwork(
            spec=spec,
            encoder=encoder_half.result(),
            decoder=decoder_half,
            embedding=np.array(trees[1]["token_embedder"]["embedding"], np.float32),
            positions=position_table(spec.max_positions, spec.width),
        )


def _pack_encoder(
    encoder_tree: Any, decoder_tree: Any, spec: NetworkSpec, dtype: "np.dtype[Any]"
) -> PackedParameters:
    layers = [encoder_tree[f"layers_{number}"] for number in range(spec.encoder_layers)]
    following = [decoder_tree[f"layers_{number}"] for number in range(spec.decoder_layers)]
    norms = ("pre_attention_layer_norm", "pre_mlp_layer_norm")
    return _pack(
        [
            _joined(encoder_tree["continuous_inputs_projection"]),
            *(kernel for layer in layers for kernel in _encoder_layer(layer)),
            *(_joined(*_both(layer["encoder_decoder_attention"])) for layer in following),
        ],
        [*(layer[name] for layer in layers for name in norms), encoder_tree["encoder_norm"]],
        dtype,
    )


def _pack_decoder(tree: Any, spec: NetworkSpec, dtype: "np.dtype[Any]") -> PackedParameters:
    layers = [tree[f"layers_{number}"] for number in range(spec.decoder_layers)]
    norms = (
        "pre_self_attention_layer_norm",
        "pre_cross_attention_layer_norm",
        "pre_mlp_layer_norm",
    )
    return _pack(
        [
            *(kernel for layer in layers for kernel in _decoder_layer(layer)),
            _joined(tree["logits_dense"]),
        ],
        [*(layer[name] for layer in layers for name in norms), tree["decoder_norm"]],
        dtype,
    )


def _encoder_layer(layer: Any) -> Iterator[Float32[np.ndarray, "I O"]]:
    """Yield a layer's kernels in order of use."""
    yield from _attention(layer["attention"])
    yield from _mlp(layer["mlp"])


def _decoder_layer(layer: Any) -> Iterator[Float32[np.ndarray, "I O"]]:
    """Yield a layer's kernels in order of use, without those that encoding reads."""
    yield from _attention(layer["self_attention"])
    yield _joined(layer["encoder_decoder_attention"]["query"])
    yield _joined(layer["encoder_decoder_attention"]["out"])
    yield from _mlp(layer["mlp"])


def _attention(tree: Any) -> Iterator[Float32[np.ndarray, "I O"]]:
    yield _joined(tree["query"], *_both(tree))
    yield _joined(tree["out"])


def _mlp(tree: Any) -> Iterator[Float32[np.ndarray, "I O"]]:
    yield _joined(tree["wi_0"], tree["wi_1"])
    yield _joined(tree["wo"])


def _both(attention: Any) -> tuple[Any, Any]:
    return attention["key"], attention["value"]


def _joined(*parts: Any) -> Float32[np.ndarray, "I O"]:
    """Return kernels of the same input as one."""
    kernels = [np.asarray(part["kernel"], np.float32) for part in parts]
    return np.concatenate(kernels, axis=1) if len(kernels) > 1 else kernels[0]


def _pack(kernels: Sequence[Any], norms: Sequence[Any], dtype: "np.dtype[Any]") -> PackedParameters:
    sizes = [kernel.shape[0] * _padded(kernel.shape[1]) for kernel in kernels]
    packed = _aligned(sum(sizes), dtype)
    at = 0
    for kernel, size in zip(kernels, sizes, strict=True):
        panels = to_panels(kernel, dtype)
        packed[at : at + size].reshape(panels.shape)[:] = panels
        at += size
    scales = [np.asarray(norm["scale"], np.float32) for norm in norms]
    return PackedParameters(kernels=packed, norms=np.stack(scales))


def to_panels(kernel: Float32[np.ndarray, "I O"], dtype: "np.dtype[Any]") -> Stored:
    """Return a kernel as ``[panels, I / each, PANEL, each]``; ``each`` numbers are a word.

    Outputs are padded with zeros to whole panels.
    """
    inputs, outputs = kernel.shape
    is_float32 = dtype == np.float32
    stored = kernel if is_float32 else kernel.astype(jnp.bfloat16).view(np.uint16)
    if _padded(outputs) != outputs:
        stored = np.pad(stored, ((0, 0), (0, _padded(outputs) - outputs)))
    each = _WORD_BYTES // dtype.itemsize
    return stored.reshape(inputs // each, each, -1, PANEL).transpose(2, 0, 3, 1)


def _padded(columns: int) -> int:
    return -(-columns // PANEL) * PANEL


def _aligned(count: int, dtype: "np.dtype[Any]") -> Stored:
    """Return an array of ``count`` numbers that begins at a cache line."""
    room = np.empty(count + _CACHE_LINE, dtype)
    first = -room.ctypes.data % _CACHE_LINE // room.itemsize
    return room[first : first + count]
