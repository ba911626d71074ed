"""The device's verbs alone, and how near each comes to the roofline.

Timed with random weights: the time depends on shapes only, and no row ends before its time. The
least that a verb must do is counted from the spec, in the precision's own bytes:

- a generation step reads the decoder's kernels once (but the embedding, which is gathered, and the
  cross-attention's key and value kernels, which the encode has used), and of every row the
  cross-attention's keys and values and all columns of the self-attention's;
- an encode is products: two operations per number of a kernel and frame, and the attention's.
"""

import dataclasses
import math
from collections.abc import Iterable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import DTypeLike

from mt3_model.generation.precision import Precision, operand_dtype, stored_parameters
from mt3_model.generation.slots import COLUMN_BUCKETS, SlotShapes
from mt3_model.generation.state import GenerationState
from mt3_model.generation.steps import Encoded, Steps
from mt3_model.network.params import parameter_shapes
from mt3_model.spec import ModelSpec
from tests.benchmarks.gpu.pools import open_steps, random_parameters
from tests.benchmarks.gpu.report import Deadline
from tests.benchmarks.gpu.roofline import median_seconds

CROSS_KERNELS = ("encoder_decoder_attention/key/kernel", "encoder_decoder_attention/value/kernel")
"""Used once per segment, by the encode."""


class StageTimer:
    """The verbs in one precision."""

    def __init__(self, spec: ModelSpec, shapes: SlotShapes, precision: Precision) -> None:
        self._spec, self._shapes, self._precision = spec, shapes, precision
        self._steps: Steps = open_steps(spec, precision)
        self._parameters = jax.device_put(
            stored_parameters(random_parameters(spec), precision), self._steps.everywhere
        )
        random = np.random.default_rng(0)
        shape = (shapes.encode_batch, spec.segment_samples)
        samples = 0.1 * random.standard_normal(shape, np.float32)
        self._samples = jax.device_put(samples, self._steps.by_rows)
        frames = np.full(shapes.encode_batch, spec.segment_frames, np.int32)
        self._frames = jax.device_put(frames, self._steps.by_rows)

    def measure(
        self, groups: Iterable[tuple[int, int]], roofline: dict[str, Any], deadline: Deadline
    ) -> dict[str, Any]:
        """Milliseconds of encode, insert and step, with the share of the roofline reached.

        Args:
            groups: Rows and columns of the steps to measure.
            roofline: Of `measure_roofline`.
            deadline: Asked before each.
        """
        batch = self._shapes.encode_batch
        encode = median_seconds(self._encode)
        rate = batch * encode_operations(self._spec) / encode / 1e12
        measured: dict[str, Any] = {
            "precision": self._precision,
            "encode_batch": batch,
            "encode_ms": round(1e3 * encode, 3),
            "encode_tflops": round(rate, 3),
            "encode_share": round(rate / roofline[f"{self._precision}_tflops"], 3),
            "insert_ms": round(1e3 * self._insert_seconds(max(self._shapes.rows)), 3),
            "step": {},
        }
        for rows, columns in groups:
            deadline.check()
            seconds = self._step_seconds(rows, columns)
            read = step_bytes(self._spec, rows, columns, operand_dtype(self._precision), self._precision)
            measured["step"][f"{rows}x{columns}"] = {
                "ms": round(1e3 * seconds, 4),
                "tokens_per_second": round(rows / seconds),
                "gb_per_second": round(read / seconds / 1e9, 1),
                "share": round(read / seconds / 1e9 / roofline["copy_gb_per_second"], 3),
            }
        return measured

    def _encode(self) -> Encoded:
        return self._steps.encode(self._parameters, self._samples, self._frames)

    def _insert_seconds(self, group_rows: int) -> float:
        state = self._full_state(group_rows, COLUMN_BUCKETS[0])
        encoded = self._encode()
        rows = jnp.arange(self._shapes.encode_batch, dtype=jnp.int32)  # past the last: dropped
        reference = jnp.zeros(self._shapes.encode_batch, bool)

        def insert() -> GenerationState:
            nonlocal state
            state = self._steps.insert(state, encoded, rows, reference)
            return state

        return median_seconds(insert)

    def _step_seconds(self, rows: int, columns: int) -> float:
        """Of one generation step of a visit, all rows live; each visit begins at position 0."""
        state = self._full_state(rows, columns)
        count = min(self._shapes.visit_steps, columns)

        def visit() -> GenerationState:
            nonlocal state
            # A new array each time: the last one was given away with the state.
            start = jnp.zeros_like(state.position)
            state = dataclasses.replace(state, position=start)
            state = self._steps.step(self._parameters, state, count)
            return state

        return median_seconds(visit) / count

    def _full_state(self, rows: int, columns: int) -> GenerationState:
        state = self._steps.empty_state(rows, columns)
        return dataclasses.replace(state, live=jnp.ones_like(state.live))


def step_bytes(
    spec: ModelSpec, rows: int, columns: int, kept: DTypeLike, precision: Precision
) -> int:
    """Bytes that one generation step must read at the least.

    Args:
        spec: The model.
        rows: Of the group.
        columns: Of its self-attention's caches.
        kept: How keys and values are kept.
        precision: How kernels are.
    """
    width = jnp.dtype(operand_dtype(precision)).itemsize
    network = spec.network
    total = 0
    for path, shape in parameter_shapes(network).items():
        used_by_encode = path.endswith(CROSS_KERNELS)
        if path.startswith("decoder/") and path.endswith("kernel") and not used_by_encode:
            total += math.prod(shape) * width
    joined = network.heads * network.head_width
    past = 2 * network.decoder_layers * joined * (spec.segment_frames + columns)
    return total + rows * past * jnp.dtype(kept).itemsize


def encode_operations(spec: ModelSpec) -> int:
    """Floating-point operations of one segment's encode, its cross-attention projections too."""
    network = spec.network
    kernels = sum(
        math.prod(shape)
        for path, shape in parameter_shapes(network).items()
        if (path.startswith("encoder/") and path.endswith("kernel")) or path.endswith(CROSS_KERNELS)
    )
    joined = network.heads * network.head_width
    attention = network.encoder_layers * 2 * joined * spec.segment_frames  # logits, mixture
    mel = (spec.spectrogram.fft_size // 2 + 1) * spec.spectrogram.mel_bins
    return 2 * spec.segment_frames * (kernels + attention + mel)
