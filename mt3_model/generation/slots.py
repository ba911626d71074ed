"""Slots on this machine's devices, computed by XLA's programs: continuous batching.

A slot takes a segment (`insert`), generates a few tokens in each `step` together with all other
slots, and is free again when its segment has ended, whatever the others do: no segment waits for
the slowest of a batch.

A slot is a number; the pool chooses the row of the device's state that serves it. There are as many
rows as occupied slots, and as many columns as the longest of them needs, both rounded up to a
bucket. So a recording's first segments, or its last, cost only what a few rows cost.

On an accelerator the next iteration starts before the results of the last one are on the host
(``launches_ahead``), so that the device does not wait for the host. A segment that ends then leaves
its row idle for one iteration more.

Buckets are few and fixed. Within one, a segment's tokens do not depend on the number of other
segments, on its row, or on when it was inserted. Another bucket may change the last bits of a sum.
"""

import concurrent.futures
import contextlib
import dataclasses
import itertools
from collections.abc import Callable, Collection, Generator, Sequence

import jax
import numpy as np

from mt3_model.cores import usable_cores
from mt3_model.generation import selection
from mt3_model.generation.precision import stored_parameters
from mt3_model.generation.shapes import (
    WARM_COLUMNS,
    SlotShapes,
    bucket_path,
    column_buckets,
)
from mt3_model.generation.state import GenerationState
from mt3_model.generation.steps import Device, Steps
from mt3_model.network.params import Parameters
from mt3_model.network.single_query import CachedAttention
from mt3_model.notes.generated import FinishedSlot, SlotEntry
from mt3_model.notes.transcription import Precision
from mt3_model.spec import ModelSpec
from mt3_model.spectrogram.segments import silent_segment

_StepProgram = Callable[[Parameters, GenerationState], GenerationState]


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class _Iteration:
    """An iteration that the device runs or has run."""

    state: GenerationState
    """The state after it; its cache may be missing."""
    segments: np.ndarray
    """The segment that each row had, by its number; -1: none. Rows may have changed since."""


class SlotPool:
    """All slots of some devices with one set of parameters. Not thread-safe: one caller thread."""

    def __init__(
        self,
        spec: ModelSpec,
        parameters: Parameters,
        *,
        shapes: SlotShapes | None = None,
        precision: Precision = "float32",
        devices: Sequence[Device] | None = None,
        cached_attention: CachedAttention = "xla",
        ends_early: bool = True,
        launches_ahead: bool = False,
    ) -> None:
        """Put the parameters on the devices.

        Args:
            spec: The model.
            parameters: The model's parameter tree, host or device arrays in float32.
            shapes: Shapes of each device's programs; by default a CPU's.
            precision: Precision of the operands of products; float32 is the original's.
            devices: Devices that share the slots evenly; by default all of this process.
            cached_attention: The implementation of attention in generation.
            ends_early: Whether `step` checks before each token whether any row is live.
            launches_ahead: Whether `step` launches an iteration before it waits for the last one.
        """
        self.spec = spec
        self.shapes = shapes or SlotShapes()
        self.precision: Precision = precision
        self._steps = Steps(
            spec=spec,
            precision=precision,
            devices=tuple(devices or jax.local_devices()),
            cached_attention=cached_attention,
            ends_early=ends_early,
        )
        self._parameters = jax.device_put(
            stored_parameters(parameters, precision), self._steps.everywhere
        )
        self._buckets = column_buckets(spec.max_tokens, self.shapes.columns)
        self._compiling = concurrent.futures.ThreadPoolExecutor(usable_cores(), "compiling")
        self._programs: dict[tuple[int, int], concurrent.futures.Future[_StepProgram]] = {}
        self._launches_ahead = launches_ahead
        self._numbers = itertools.count()  # of segments
        self._clear()

    @property
    def devices(self) -> int:
        """Number of devices that share the slots."""
        return len(self._steps.devices)

    @property
    def slots(self) -> int:
        """Number of slots on all devices: segments that generate at once."""
        return self.devices * self.shapes.rows[-1]

    @property
    def encode_batch(self) -> int:
        """Largest number of segments in one `insert`, on all devices."""
        return self.devices * self.shapes.encode_batch

    def warm_up(self) -> None:
        """Compile every program that usual recordings need, and run each method once."""
        first, *others = self._buckets
        usual = [first, *(bucket for bucket in others if bucket <= self.shapes.warm_columns)]
        moves = [
            self._compiling.submit(
                self._steps.compile_moves,
                (rows * self.devices, columns),
                rows_beside=[
                    beside * self.devices for beside in _neighbors(self.shapes.rows, rows)
                ],
                columns_beside=_neighbors(usual, columns),
            )
            for rows in self.shapes.rows
            for columns in usual
        ]
        for rows in self.shapes.rows:
            for columns in usual:
                self._begin_program(rows, columns)
        batches = [
            self._compiling.submit(self._encode_silence, size)
            for size in self.shapes.encode_batches
        ]
        for compiled in (*moves, *batches):
            compiled.result()
        usual = [bucket for bucket in usual if bucket <= WARM_COLUMNS]  # all else is compiled
        segment = silent_segment(self.spec)
        for rows in (*self.shapes.rows, *reversed(self.shapes.rows)):
            self._resize_rows(rows)
            for columns in (*usual, *reversed(usual)):
                self._resize_columns(columns)
            for size in self.shapes.encode_batches:
                entries = [
                    SlotEntry(slot=slot, segment=segment, decoding="greedy")
                    for slot in range(min(size * self.devices, self._state.rows))
                ]
                self.insert(entries)
                self.release(range(len(entries)))
            if self._launches_ahead:
                self._steps.copy_progress(self._state)
        for program in self._programs.values():
            program.result()

    def insert(self, entries: Sequence[SlotEntry]) -> None:
        """Encode 1 to ``encode_batch`` segments and start each in its free slot."""
        assert 0 < len(entries) <= self.encode_batch, "as many segments as an encode takes"
        waiting: list[list[SlotEntry]] = [[] for _ in range(self.devices)]
        free = [self.shapes.rows[-1] - taken for taken in self._taken_rows()]
        for entry in entries:
            device = max(range(self.devices), key=lambda device: free[device])
            waiting[device].append(entry)
            free[device] -= 1
        size = self.shapes.encode_batch
        with self._noting_failure():
            while any(waiting):  # once, unless one device has most of the free rows
                self._insert_together([entries[:size] for entries in waiting])
                waiting = [entries[size:] for entries in waiting]

    def step(self) -> list[FinishedSlot]:
        """Generate up to ``iteration_steps`` tokens in every taken slot.

        Returns:
            The slots that ended, with their tokens; they are free again.
        """
        if not (self._slots >= 0).any():
            self._launched = None  # nobody wants its results
            return []
        with self._noting_failure():
            iteration = self._launch()
            if self._launches_ahead:
                iteration, self._launched = self._launched, iteration
            return [] if iteration is None else self._collect(iteration)

    def release(self, slots: Collection[int]) -> None:
        """Free these slots, whose segments are no longer wanted.

        A call that failed has consumed the donated buffers: the state is then created again, empty.
        The caller must release all slots in that case, since all their segments are lost.
        """
        if self._has_failed:
            self._clear()
            return
        rows = np.isin(self._slots, list(slots))
        if rows.any():
            with self._noting_failure():
                self._empty(rows)

    @property
    def _rows(self) -> int:
        """R of each device."""
        return self._state.rows // self.devices

    def _clear(self) -> None:
        """Free all slots and create the smallest state."""
        rows = self.shapes.rows[0] * self.devices
        self._state = self._steps.empty_state(rows, self._buckets[0])
        self._slots = np.full(rows, -1)  # the slot that each row serves; -1: none
        self._segments = np.full(rows, -1)  # the number of its segment
        self._positions = np.zeros(rows, np.int64)  # of taken rows, at most, else 0
        self._launched: _Iteration | None = None  # not collected yet
        self._has_failed = False

    @contextlib.contextmanager
    def _noting_failure(self) -> Generator[None]:
        """Note that the state is lost, if a call on the device raises."""
        try:
            yield
        except BaseException:
            self._has_failed = True
            raise

    def _free(self, rows: np.ndarray) -> None:
        self._slots[rows] = self._segments[rows] = -1
        self._positions[rows] = 0

    def _launch(self) -> _Iteration:
        """Start an iteration of all taken rows on the device."""
        steps = self.shapes.iteration_steps
        needed = int(self._positions.max()) + steps
        self._resize_rows(max(self._taken_rows()))
        self._resize_columns(needed)
        self._precompile(needed)
        program = self._begin_program(self._rows, self._state.columns).result()
        self._state = program(self._parameters, self._state)
        self._positions[self._slots >= 0] += steps
        state = self._state
        if self._launches_ahead:  # the next iteration will overwrite it
            state = self._steps.copy_progress(state)
        return _Iteration(state=state, segments=self._segments.copy())

    def _put(self, rows: np.ndarray) -> jax.Array:
        """Copy an array with an axis of rows to the devices, to each its part."""
        return jax.device_put(rows, self._steps.by_rows)

    def _taken_rows(self) -> list[int]:
        """Return the number of taken rows of each device."""
        return (self._slots >= 0).reshape(self.devices, -1).sum(axis=1).tolist()

    def _begin_program(self, rows: int, columns: int) -> concurrent.futures.Future[_StepProgram]:
        """Return the step program for these shapes; start to compile it at the first call.

        XLA compiles without Python's lock, so each core can compile another program.
        """
        key = rows, columns
        begun = self._programs.get(key)
        if begun is None or (begun.done() and begun.exception() is not None):
            self._programs[key] = self._compiling.submit(
                self._steps.compile_step,
                self._parameters,
                rows * self.devices,
                columns,
                self.shapes.iteration_steps,
            )
        return self._programs[key]

    def _insert_together(self, waiting: Sequence[Sequence[SlotEntry]]) -> None:
        """Encode some segments of each device in one batch and start them in free rows."""
        needed = (taken + len(its) for taken, its in zip(self._taken_rows(), waiting, strict=True))
        self._resize_rows(max(self._rows, *needed))
        size = self.shapes.encode_batch_for(max(map(len, waiting)))
        batch = size * self.devices
        samples = np.zeros((batch, self.spec.segment_samples), np.float32)
        frames = np.zeros(batch, np.int32)
        reference = np.zeros(batch, bool)
        forbidden = np.zeros((batch, self.spec.network.vocabulary_size), bool)
        rows = np.full(batch, self._rows, np.int32)  # past the last one: dropped
        for device, entries in enumerate(waiting):
            first = device * self._rows
            free = np.flatnonzero(self._slots[first : first + self._rows] < 0)
            place = device * size
            for number, (entry, row) in enumerate(zip(entries, free, strict=False), place):
                samples[number] = entry.segment.samples
                frames[number] = entry.segment.frames
                reference[number] = entry.decoding == "reference"
                if entry.forbidden is not None:
                    forbidden[number] = entry.forbidden
                rows[number] = row
                self._slots[first + row] = entry.slot
                self._segments[first + row] = next(self._numbers)
        encoded = self._steps.encode(self._parameters, self._put(samples), self._put(frames))
        self._state = self._steps.insert(
            self._state, encoded, self._put(rows), self._put(reference), self._put(forbidden)
        )

    def _encode_silence(self, size: int) -> None:
        """Encode a batch of this size on each device, which compiles it."""
        batch = size * self.devices
        samples = np.zeros((batch, self.spec.segment_samples), np.float32)
        frames = np.ones(batch, np.int32)
        self._steps.encode(self._parameters, self._put(samples), self._put(frames))

    def _resize_rows(self, needed: int) -> None:
        """Give each device as many rows as it needs, rounded up to a bucket; taken rows first."""
        for rows in bucket_path(self.shapes.rows, self._rows, needed):
            taken = self._slots.reshape(self.devices, -1) >= 0
            order = np.argsort(~taken, axis=1, kind="stable")  # the taken first
            beyond = np.full((self.devices, rows), self._rows)  # empty
            kept = min(rows, self._rows)
            beyond[:, :kept] = order[:, :kept]
            firsts = np.arange(self.devices)[:, None] * self._rows
            was = (firsts + order[:, :kept]).ravel()
            now = (np.arange(self.devices)[:, None] * rows + np.arange(kept)).ravel()
            kept_rows = self._slots[was], self._segments[was], self._positions[was]
            self._state = self._steps.arrange(
                self._state, self._put(beyond.ravel().astype(np.int32))
            )
            self._slots = np.full(rows * self.devices, -1)
            self._segments = np.full(rows * self.devices, -1)
            self._positions = np.zeros(rows * self.devices, np.int64)
            self._slots[now], self._segments[now], self._positions[now] = kept_rows

    def _resize_columns(self, needed: int) -> None:
        """Give the caches room for this number of tokens, rounded up to a bucket."""
        for columns in bucket_path(self._buckets, self._state.columns, needed):
            self._state = self._steps.resize(self._state, columns)

    def _precompile(self, needed: int) -> None:
        """Start to compile the next bucket once a row has used three quarters of this one."""
        following = self._buckets.index(self._state.columns) + 1
        if 4 * needed > 3 * self._state.columns and following < len(self._buckets):
            self._begin_program(self._rows, self._buckets[following])

    def _collect(self, iteration: _Iteration) -> list[FinishedSlot]:
        """Copy the rows' progress to the host, and the tokens of rows that have ended.

        A row whose scores have become NaN would choose token 0 up to the token limit: it ends at
        once, with the NaN among its log probabilities.
        """
        state = iteration.state
        live, positions, sums = jax.device_get((state.live, state.position, state.score))
        then, now = self._places(iteration)
        ahead = self.shapes.iteration_steps if self._launches_ahead else 0
        self._positions[now] = positions[then] + ahead
        broken = np.isnan(sums[then])
        ended = ~live[then] | broken
        if not ended.any():
            return []
        tokens, log_probabilities, lengths, scores = jax.device_get(
            (state.tokens, state.log_probabilities, state.length, state.best_score)
        )
        finished: list[FinishedSlot] = []
        for place in np.flatnonzero(ended).tolist():
            row, is_broken = int(then[place]), bool(broken[place])
            generated = selection.read_result(
                tokens[row],
                log_probabilities[row],
                length=int(positions[row] if is_broken else lengths[row]),
                best_score=-np.inf if is_broken else float(scores[row]),
            )
            finished.append(FinishedSlot(slot=int(self._slots[now[place]]), generated=generated))
        self._free(now[ended])
        if broken.any():
            self._empty(now[broken])
        return finished

    def _places(self, iteration: _Iteration) -> tuple[np.ndarray, np.ndarray]:
        """Return the rows that an iteration's segments had in it, and the rows that they have now.

        Segments that were released since are left out.
        """
        segments, then, now = np.intersect1d(
            iteration.segments, self._segments, return_indices=True
        )
        return then[segments >= 0], now[segments >= 0]

    def _empty(self, rows: np.ndarray) -> None:
        """Free these rows, stop them and zero their caches.

        Caches of rows that end are left as they are, because masked columns have weight 0. But 0
        times NaN is NaN, and would spoil the row's next segment. The launched iteration, whose
        results are not known yet, may have made NaN of a row that is no longer wanted.
        """
        self._free(rows)
        emptied = np.zeros(self._state.rows, bool)
        emptied[rows] = True
        self._state = self._steps.empty(self._state, self._put(emptied))


def _neighbors(buckets: Sequence[int], bucket: int) -> list[int]:
    """Return the buckets before and after one."""
    at = buckets.index(bucket)
    return [*buckets[max(at - 1, 0) : at], *buckets[at + 1 : at + 2]]
