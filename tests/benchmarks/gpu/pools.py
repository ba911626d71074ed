"""Pools of slots that count their calls, on top of the library's own.

`MeasuredPool` computes the same as `SlotPool`. `ForcedPool` is for random weights, whose lengths
mean nothing: it ends each segment after a recorded number of tokens. It releases the rows from the
host, because a bias of the end token in the weights is one number for all rows and cannot give each
segment its own length. The device's work is the same: a row that ends within an iteration is
computed to its end in either case. The weights make the end token impossible, by a column of zeros
that the best of 1,535 random logits always exceeds. Results of ended rows are copied to the host
as in the library.
"""

import collections
import time
from collections.abc import Iterable, Sequence
from typing import Any, Literal

import jax
import ml_dtypes
import numpy as np

from mt3_model.checkpoint.loading import nest_arrays
from mt3_model.generation.selection import END_TOKEN
from mt3_model.generation.shapes import COLUMN_BUCKETS, SlotShapes
from mt3_model.generation.slots import SlotPool
from mt3_model.generation.steps import Steps
from mt3_model.hardware import runs_triton
from mt3_model.network.params import parameter_shapes
from mt3_model.notes.generated import FinishedSlot, GeneratedSegment, SlotEntry
from mt3_model.notes.transcription import Precision
from mt3_model.spec import ModelSpec

KernelsOfBenchmark = Literal["auto", "xla"]
"""``auto``: those that the product uses on this device."""


class MeasuredPool(SlotPool):
    """Counts the device's work: encodes, and iterations by the shape of the state."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.reset()

    def reset(self) -> None:
        """Reset the counts, not the slots."""
        self.inserts = 0
        self.iterations: collections.Counter[tuple[int, int]] = collections.Counter()
        """Device iterations by (rows, columns)."""
        self.insert_seconds = self.step_seconds = 0.0

    def insert(self, entries: Sequence[SlotEntry]) -> None:
        began = time.perf_counter()
        super().insert(entries)
        self.insert_seconds += time.perf_counter() - began
        self.inserts += 1

    def step(self) -> list[FinishedSlot]:
        busy = bool((self._slots >= 0).any())
        began = time.perf_counter()
        finished = super().step()
        self.step_seconds += time.perf_counter() - began
        if busy:
            self.iterations[self._state.rows, self._state.columns] += 1
        return finished


class ForcedPool(MeasuredPool):
    """Ends segment i after ``lengths[i % len(lengths)]`` tokens."""

    def __init__(self, *arguments: Any, lengths: Sequence[int], **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._lengths = lengths
        self._left: dict[int, int] = {}
        """Remaining tokens of each taken slot."""
        self._length_of: dict[int, int] = {}

    def insert(self, entries: Sequence[SlotEntry]) -> None:
        super().insert(entries)
        for entry in entries:
            length = self._lengths[entry.segment.index % len(self._lengths)]
            self._length_of[entry.slot] = self._left[entry.slot] = length

    def step(self) -> list[FinishedSlot]:
        # A row that reaches the maximum number of tokens ends by itself.
        ended = [finished.slot for finished in super().step()]
        for slot in self._left:
            self._left[slot] -= self.shapes.iteration_steps
        released = [slot for slot, left in self._left.items() if left <= 0 and slot not in ended]
        if released:
            state = self._state
            jax.device_get((state.tokens, state.log_probabilities, state.length, state.best_score))
            self.release(released)
        return [self._finish(slot) for slot in ended + released]

    def release(self, slots: Iterable[int]) -> None:
        stopped = list(slots)
        super().release(stopped)
        for slot in stopped:
            self._left.pop(slot, None)

    def _finish(self, slot: int) -> FinishedSlot:
        self._left.pop(slot, None)
        length = self._length_of.pop(slot)
        return FinishedSlot(
            slot=slot,
            generated=GeneratedSegment(
                tokens=np.full(length, END_TOKEN, np.int32),
                log_probabilities=np.zeros(length, np.float32),
            ),
        )


def open_pool(
    spec: ModelSpec,
    parameters: dict[str, Any],
    shapes: SlotShapes,
    precision: Precision,
    lengths: Sequence[int] | None = None,
    *,
    kernels: KernelsOfBenchmark = "auto",
) -> MeasuredPool:
    """Open a pool on the first device; with ``lengths``, a `ForcedPool` for random weights."""
    options: dict[str, Any] = {
        **kernel_options(kernels),
        "shapes": shapes,
        "precision": precision,
        "devices": jax.local_devices()[:1],
        "launches_ahead": jax.default_backend() != "cpu",
    }
    if lengths is None:
        return MeasuredPool(spec, parameters, **options)
    return ForcedPool(spec, parameters, lengths=lengths, **options)


def open_steps(
    spec: ModelSpec, precision: Precision, kernels: KernelsOfBenchmark = "auto"
) -> Steps:
    """Return the verbs alone, in this precision, on the first device."""
    options = kernel_options(kernels)
    return Steps(spec=spec, precision=precision, devices=tuple(jax.local_devices()[:1]), **options)


def kernel_options(kernels: KernelsOfBenchmark) -> dict[str, Any]:
    """Return the options of `SlotPool` and `Steps` for the programs that are to compute."""
    uses_triton = kernels == "auto" and runs_triton(jax.local_devices()[0])
    return {
        "cached_attention": "triton" if uses_triton else "xla",
        "ends_early": not uses_triton,
    }


def random_parameters(spec: ModelSpec, seed: int = 0) -> dict[str, Any]:
    """Make random weights that never choose the end token, rounded to bfloat16."""
    random = np.random.default_rng(seed)
    arrays: dict[str, np.ndarray] = {}
    for path, shape in parameter_shapes(spec.network).items():
        if len(shape) == 1:
            arrays[path] = np.ones(shape, np.float32)
        else:
            drawn = random.standard_normal(shape, np.float32) / np.sqrt(shape[0])
            arrays[path] = drawn.astype(ml_dtypes.bfloat16).astype(np.float32)
    arrays["decoder/logits_dense/kernel"][:, END_TOKEN] = 0.0
    return nest_arrays(arrays)


def columns_for(tokens: int, spec: ModelSpec) -> int:
    """Return the bucket that holds this many tokens, chosen as in the pool."""
    buckets = sorted({min(bucket, spec.max_tokens) for bucket in COLUMN_BUCKETS})
    return next((bucket for bucket in buckets if bucket >= tokens), buckets[-1])
