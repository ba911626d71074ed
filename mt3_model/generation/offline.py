"""Segments -> tokens in static batches: the verbs of `steps.py` driven from the host.

A batch of segments is encoded, inserted and stepped until every row is done. The number of slots is
one fixed shape, short batches are padded with rows that are never live, and the cache grows from
bucket to bucket with the longest row, so a batch of short segments never pays for 1,024 columns.
Identical shapes for every batch make a segment's tokens independent of what shares its batch.
"""

import time
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import DTypeLike

from mt3_model.generation import selection
from mt3_model.generation.state import GenerationState, empty_state
from mt3_model.generation.steps import Parameters, Steps
from mt3_model.notes.generated import GeneratedSegment
from mt3_model.spec import ModelSpec
from mt3_model.spectrogram.segments import Segment

COLUMN_BUCKETS = (128, 256, 512, 1_024)
"""Columns the cache may have: 2 to 165 tokens per segment are usual, 694 the most seen."""
VISIT_STEPS = 64
"""Generation steps per device call: between calls the host may look (and a caller may leave)."""


class SegmentGenerator:
    """Generates tokens for batches of segments with one set of parameters on one device.

    Not thread-safe: one thread drives the device.
    """

    def __init__(
        self,
        spec: ModelSpec,
        parameters: Parameters,
        *,
        batch_size: int = 16,
        dtype: DTypeLike = jnp.float32,
    ) -> None:
        """Puts the parameters on the device.

        Args:
            spec: The model.
            parameters: Its parameter tree, host or device arrays.
            batch_size: Slots, R: segments generated together.
            dtype: Of activations and products; float32 is the original's.
        """
        self.spec = spec
        self.batch_size = batch_size
        self._steps = Steps(spec=spec, dtype=dtype)
        self._parameters = jax.device_put(parameters)

    def warm_up(self, rule: selection.Rule) -> float:
        """Compiles the shapes every recording needs; returns the wall seconds it took."""
        began = time.perf_counter()
        samples = np.zeros(self.spec.segment_samples, np.float32)
        self.generate([Segment(index=0, samples=samples, frames=1, start_time=0.0)], rule)
        return time.perf_counter() - began

    def generate(self, segments: Sequence[Segment], rule: selection.Rule) -> list[GeneratedSegment]:
        """Tokens of up to ``batch_size`` segments, in their order.

        Raises:
            ValueError: More segments than slots.
        """
        if not 0 < len(segments) <= self.batch_size:
            raise ValueError(f"got {len(segments)} segments; expected 1 to {self.batch_size}")
        state = self._start(segments)
        state = self._finish(state, rule)
        return _results(state, len(segments))

    def _start(self, segments: Sequence[Segment]) -> GenerationState:
        """Encodes the segments and gives each its slot."""
        samples = np.zeros((self.batch_size, self.spec.segment_samples), np.float32)
        frames = np.zeros(self.batch_size, np.int32)
        for row, segment in enumerate(segments):
            samples[row] = segment.samples
            frames[row] = segment.frames
        encoded = self._steps.encode(self._parameters, jnp.asarray(samples), jnp.asarray(frames))
        state = empty_state(self.spec, self.batch_size, self._columns_for(1), self._steps.dtype)
        rows = jnp.arange(self.batch_size, dtype=jnp.int32)
        return self._steps.insert(state, encoded, rows, rows < len(segments))

    def _finish(self, state: GenerationState, rule: selection.Rule) -> GenerationState:
        """Steps until no row is live."""
        done = 0
        while done < self.spec.max_tokens:
            count = min(VISIT_STEPS, self.spec.max_tokens - done)
            if done + count > state.columns:
                state = self._steps.resize(state, self._columns_for(done + count))
            state = self._steps.step(self._parameters, state, count, rule)
            done += count
            if not np.asarray(state.live).any():
                break
        return state

    def _columns_for(self, tokens: int) -> int:
        """The smallest bucket with room for ``tokens``."""
        fitting = [bucket for bucket in COLUMN_BUCKETS if bucket >= tokens]
        return min([*fitting, self.spec.max_tokens])


def _results(state: GenerationState, rows: int) -> list[GeneratedSegment]:
    """Copies the results of the first ``rows`` slots to the host."""
    tokens, log_probabilities, lengths, scores = (
        np.asarray(a)
        for a in (state.tokens, state.log_probabilities, state.length, state.best_score)
    )
    results: list[GeneratedSegment] = []
    for row in range(rows):
        length = int(lengths[row])
        result = tokens[row, :length].copy()
        if np.isfinite(scores[row]):
            # The reference rule's row went on after its best candidate: there the end stood.
            result[-1] = selection.END_TOKEN
        results.append(
            GeneratedSegment(
                tokens=result, log_probabilities=log_probabilities[row, :length].copy()
            )
        )
    return results
