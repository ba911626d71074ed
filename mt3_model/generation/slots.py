"""Slots on one device: segments in, tokens out, each slot on its own (continuous batching).

The verbs of `steps.py` driven from the host. A slot is given a segment (`insert`), generates with
all others a few tokens per visit (`step`), and is free again when its segment has ended, whatever
the others do: nobody waits for the slowest of a batch.

The slots are divided into groups of equal size, each with caches of its own. A group is the unit of
every compiled shape, so a segment's tokens do not depend on how many others there are, where it
stands among them, or when it came. And cost follows use: a group without live rows is not stepped,
and one long segment makes only its own group's caches grow, from bucket to bucket and back.

One visit's device work is put in line for every group before the host looks at any, so that the
host's part overlaps the device's.
"""

import dataclasses
from collections.abc import Iterable, Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import DTypeLike

from mt3_model.generation import selection
from mt3_model.generation.state import GenerationState, empty_state
from mt3_model.generation.steps import Encoded, Parameters, Steps
from mt3_model.notes.generated import FinishedSlot, GeneratedSegment, SlotEntry
from mt3_model.spec import ModelSpec
from mt3_model.spectrogram.segments import Segment

COLUMN_BUCKETS = (64, 96, 128, 160, 192, 256, 384, 512, 768, 1_024)
"""Columns a group's caches may have: 2 to 165 tokens per segment are usual, 694 the most seen.
Attention reads them all, so they are close where segments usually end."""
WARM_COLUMNS = 192
"""Buckets up to here are compiled before the first recording comes, the rest when it needs them."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class SlotShapes:
    """The static shapes of one device; each is compiled once."""

    groups: int = 1
    rows: int = 32
    """Slots of a group, R. On two CPU cores a step of 8, 16, 32, 64 rows took 10, 17, 27, 51 ms."""
    encode_batch: int = 4
    """Segments encoded together, B; a shorter batch is padded and costs as much."""
    visit_steps: int = 16
    """Generation steps of a visit: a slot that ends early waits so long at most to be refilled."""


def suitable_shapes(slots: int | None = None) -> SlotShapes:
    """The shapes for the device that JAX found, with ``slots`` slots if a number is given.

    An accelerator wants many rows to fill it (weights are read once a step, whatever the rows);
    256 of them hold 1.6 GB of cross-attention keys and values in float32. Its shapes have not
    been measured yet.
    """
    if jax.default_backend() == "cpu":
        return SlotShapes(rows=slots or SlotShapes().rows)
    return SlotShapes(rows=slots or 256, encode_batch=32, visit_steps=32)


class _Group:
    """One group's state and what the host knows of it."""

    def __init__(self, state: GenerationState) -> None:
        self.state = state
        self.positions = np.zeros(state.rows, np.int64)
        self.taken = np.zeros(state.rows, bool)


class SlotPool:
    """All slots of one device with one set of parameters. Not thread-safe: one thread drives it."""

    def __init__(
        self,
        spec: ModelSpec,
        parameters: Parameters,
        *,
        shapes: SlotShapes | None = None,
        dtype: DTypeLike = jnp.float32,
    ) -> None:
        """Puts the parameters on the device.

        Args:
            spec: The model.
            parameters: Its parameter tree, host or device arrays.
            shapes: Of the device's programs; by default those that suit a CPU.
            dtype: Of activations and products; float32 is the original's.
        """
        self.spec = spec
        self.shapes = shapes or SlotShapes()
        self._steps = Steps(spec=spec, dtype=dtype)
        self._parameters = jax.device_put(parameters)
        self._buckets = sorted({min(bucket, spec.max_tokens) for bucket in COLUMN_BUCKETS})
        self._groups = [self._empty_group() for _ in range(self.shapes.groups)]

    @property
    def slots(self) -> int:
        """Segments that generate at once: groups times rows."""
        return self.shapes.groups * self.shapes.rows

    @property
    def encode_batch(self) -> int:
        """Most segments that `insert` takes at once."""
        return self.shapes.encode_batch

    def warm_up(self) -> None:
        """Compiles the shapes that most recordings need, by running them once."""
        samples = np.zeros(self.spec.segment_samples, np.float32)
        segment = Segment(index=0, samples=samples, frames=1, start_time=0.0)
        self.insert([SlotEntry(slot=0, segment=segment, decoding="greedy")])
        group = self._groups[0]
        for columns in (bucket for bucket in self._buckets if bucket <= WARM_COLUMNS):
            group.state = self._steps.resize(group.state, columns)
            group.state = self._steps.step(self._parameters, group.state, 1)
        self.release([0])

    def insert(self, entries: Sequence[SlotEntry]) -> None:
        """Encodes 1 to ``encode_batch`` segments and starts each in its free slot."""
        assert 0 < len(entries) <= self.encode_batch, "as many segments as an encode takes"
        encoded = self._encode([entry.segment for entry in entries])
        reference = np.zeros(self.encode_batch, bool)
        rows = np.full((self.shapes.groups, self.encode_batch), self.shapes.rows, np.int32)
        for number, entry in enumerate(entries):
            index, row = divmod(entry.slot, self.shapes.rows)
            group = self._groups[index]
            assert not group.taken[row], "the slot is free"
            group.taken[row], group.positions[row] = True, 0
            rows[index, number] = row
            reference[number] = entry.decoding == "reference"
        for group, its_rows in zip(self._groups, rows, strict=True):
            if (its_rows < self.shapes.rows).any():
                group.state = self._steps.insert(
                    group.state, encoded, jnp.asarray(its_rows), jnp.asarray(reference)
                )

    def step(self) -> list[FinishedSlot]:
        """Generates up to ``visit_steps`` tokens in every taken slot.

        Returns:
            The slots that ended, with their tokens; they are free again.
        """
        busy = [(index, group) for index, group in enumerate(self._groups) if group.taken.any()]
        for _, group in busy:
            self._fit(group)
            group.state = self._steps.step(self._parameters, group.state, self.shapes.visit_steps)
        return [finished for index, group in busy for finished in self._collect(index, group)]

    def release(self, slots: Iterable[int]) -> None:
        """Frees these slots: their segments are no longer wanted.

        A device call that failed has taken its group's donated buffers with it: such a group is
        made anew, empty. Its caller must then release all slots, since none of them lives on.
        """
        stopped = np.zeros((self.shapes.groups, self.shapes.rows), bool)
        for slot in slots:
            stopped[divmod(slot, self.shapes.rows)] = True
        for index, rows in enumerate(stopped):
            group = self._groups[index]
            if group.state.live.is_deleted():
                self._groups[index] = self._empty_group()
            elif rows.any():
                group.taken &= ~rows
                group.state = self._steps.release(group.state, jnp.asarray(rows))

    def _empty_group(self) -> _Group:
        return _Group(empty_state(self.spec, self.shapes.rows, self._buckets[0], self._steps.dtype))

    def _encode(self, segments: Sequence[Segment]) -> Encoded:
        samples = np.zeros((self.encode_batch, self.spec.segment_samples), np.float32)
        frames = np.zeros(self.encode_batch, np.int32)
        for row, segment in enumerate(segments):
            samples[row] = segment.samples
            frames[row] = segment.frames
        return self._steps.encode(self._parameters, jnp.asarray(samples), jnp.asarray(frames))

    def _fit(self, group: _Group) -> None:
        """Gives the group's caches room for the next visit, and no more than a bucket too much."""
        needed = int(group.positions[group.taken].max()) + self.shapes.visit_steps
        columns = next((b for b in self._buckets if b >= needed), self._buckets[-1])
        if columns != group.state.columns:
            group.state = self._steps.resize(group.state, columns)

    def _collect(self, index: int, group: _Group) -> list[FinishedSlot]:
        """Copies to the host what it must know, and the tokens of rows that have ended."""
        state = group.state
        live, positions = jax.device_get((state.live, state.position))
        group.positions = positions.astype(np.int64)
        ended = np.flatnonzero(group.taken & ~live)
        if not len(ended):
            return []
        group.taken[ended] = False
        tokens, log_probabilities, lengths, scores = jax.device_get(
            (state.tokens, state.log_probabilities, state.length, state.best_score)
        )
        finished: list[FinishedSlot] = []
        for row in ended.tolist():
            length = int(lengths[row])
            result = tokens[row, :length].copy()
            if np.isfinite(scores[row]):
                # The reference rule's row went on after its best candidate: there the end stood.
                result[-1] = selection.END_TOKEN
            finished.append(
                FinishedSlot(
                    slot=index * self.shapes.rows + row,
                    generated=GeneratedSegment(
                        tokens=result, log_probabilities=log_probabilities[row, :length].copy()
                    ),
                )
            )
        return finished
