"""Measure the device's verbs (encode, insert, step) alone, and their share of the roofline.

They run with random weights: the time depends on shapes only, and no row ends early. The least work
of a verb is counted by `tests/benchmarks/limits/roofline.py`: bytes for a generation step,
floating-point operations for an encode.
"""

import dataclasses
from collections.abc import Iterable
from typing import Any

import jax
import numpy as np

from mt3_model.generation.precision import stored_parameters
from mt3_model.generation.shapes import COLUMN_BUCKETS, SlotShapes
from mt3_model.generation.state import GenerationState
from mt3_model.generation.steps import Encoded, Steps
from mt3_model.notes.transcription import Precision
from mt3_model.spec import ModelSpec
from tests.benchmarks.gpu.pools import KernelsOfBenchmark, open_steps, random_parameters
from tests.benchmarks.gpu.report import Deadline
from tests.benchmarks.gpu.roofline import median_seconds
from tests.benchmarks.limits.roofline import Widths, encode_work, generate_work, widths_of

USUAL_COLUMNS = 96
"""The mean of the columns in use while the dense song generates, about."""


class StageTimer:
    """Measures the verbs in one precision."""

    def __init__(
        self,
        spec: ModelSpec,
        shapes: SlotShapes,
        precision: Precision,
        kernels: KernelsOfBenchmark = "auto",
    ) -> None:
        self._spec, self._shapes, self._precision = spec, shapes, precision
        self._steps: Steps = open_steps(spec, precision, kernels)
        self._parameters = jax.device_put(
            stored_parameters(random_parameters(spec), precision), self._steps.everywhere
        )
        random = np.random.default_rng(0)
        shape = (shapes.encode_batch, spec.segment_samples)
        samples = 0.1 * random.standard_normal(shape, np.float32)
        self._samples = self._put(samples)
        frames = np.full(shapes.encode_batch, spec.segment_frames, np.int32)
        self._frames = self._put(frames)

    def measure(
        self, visited: Iterable[tuple[int, int]], roofline: dict[str, Any], deadline: Deadline
    ) -> dict[str, Any]:
        """Measure milliseconds of encode, insert and step, and their share of the roofline.

        Args:
            visited: rows and columns of the steps to measure; most rows come first.
            roofline: result of `measure_roofline`.
            deadline: time limit, checked before each step.
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
            "insert_ms": round(1e3 * self._insert_seconds(self._shapes.rows[-1]), 3),
            "step": {},
        }
        for rows, columns in sorted(visited, key=lambda shape: (-shape[0], shape[1])):
            deadline.check()
            used = self._used(columns)
            seconds = self._step_seconds(rows, columns, used)
            read = step_bytes(self._spec, rows, used, self._precision)
            measured["step"][f"{rows}x{columns}"] = {
                "used_columns": used,
                "ms": round(1e3 * seconds, 4),
                "tokens_per_second": round(rows / seconds),
                "gb_per_second": round(read / seconds / 1e9, 1),
                "share": round(read / seconds / 1e9 / roofline["copy_gb_per_second"], 3),
            }
        return measured

    def _encode(self) -> Encoded:
        return self._steps.encode(self._parameters, self._samples, self._frames)

    def _insert_seconds(self, slots: int) -> float:
        state = self._steps.empty_state(slots, COLUMN_BUCKETS[0])
        encoded = self._encode()
        rows = self._put(np.arange(self._shapes.encode_batch, dtype=np.int32))
        reference = self._put(np.zeros(self._shapes.encode_batch, bool))
        vocabulary = self._steps.spec.network.vocabulary_size
        forbidden = self._put(np.zeros((self._shapes.encode_batch, vocabulary), bool))

        def insert() -> GenerationState:
            nonlocal state
            state = self._steps.insert(state, encoded, rows, reference, forbidden)
            return state

        return median_seconds(insert)

    def _used(self, columns: int) -> int:
        """Return the columns in use: all, or as many as are usual if only those cost."""
        return columns if self._steps.cached_attention == "xla" else min(columns, USUAL_COLUMNS)

    def _step_seconds(self, rows: int, columns: int, used: int) -> float:
        """Return the seconds of one generation step, with all rows live at the last used column."""
        state = self._steps.empty_state(rows, columns)
        count = min(self._shapes.iteration_steps, used)
        program = self._steps.compile_step(self._parameters, rows, columns, count)

        def iteration() -> GenerationState:
            nonlocal state
            # New arrays each time: the step program consumed (donated) the last ones.
            start = self._put(np.full(rows, used - count, np.int32))
            state = dataclasses.replace(state, position=start, live=self._put(np.ones(rows, bool)))
            state = program(self._parameters, state)
            return state

        return median_seconds(iteration) / count

    def _put(self, rows: np.ndarray) -> jax.Array:
        return jax.device_put(rows, self._steps.by_rows)


def step_bytes(spec: ModelSpec, rows: int, columns: int, precision: Precision) -> float:
    """Return the least bytes that a generation step reads, with every row at the last column.

    Args:
        spec: the model's spec.
        rows: rows of the generation state.
        columns: columns of its self-attention caches.
        precision: precision of stored kernels, keys and values.
    """
    steps = 2 * columns - 1  # segments of so many tokens have C columns on average
    work = generate_work(
        spec, segments=rows, tokens=rows * steps, rows=rows, widths=widths_of(precision)
    )
    return work.bytes_moved / steps


def encode_operations(spec: ModelSpec) -> float:
    """Return the FLOPs of encoding one segment, cross-attention projections included."""
    return encode_work(spec, segments=1, batch=1, widths=Widths()).flops
