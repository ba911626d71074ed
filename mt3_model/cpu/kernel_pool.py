"""Slots on one CPU, computed by the CPU's own programs (`kernels/`) instead of XLA's.

The methods are those of `generation/slots.py`, with the state in NumPy arrays. Each core encodes
one segment alone, and takes an equal part of the occupied slots through the generation steps alone:
within either, no core waits for another. A step costs only what its live rows cost, so there are no
buckets of rows or columns, nothing to compile for them, and nothing to move. XLA computes only the
log-mel.

A segment's results are bit-identical whatever else is generated, and on any number of cores.
"""

import concurrent.futures
import dataclasses
from collections.abc import Collection, Sequence

import numpy as np
from jaxtyping import Int64

from mt3_model.cores import usable_cores
from mt3_model.cpu.encoders import (
    Encoder,
    KernelEncoder,
    wait_for,
    xla_encodes_faster,
)
from mt3_model.cpu.kernels.row_selection import select_rows
from mt3_model.cpu.packed_network import (
    KeptColumns,
    Stored,
    addresses_of,
    pack_network,
    stored_dtype,
)
from mt3_model.cpu.processor import processor_features
from mt3_model.generation import selection
from mt3_model.generation.shapes import SlotShapes
from mt3_model.network.params import Parameters
from mt3_model.notes.generated import FinishedSlot, SlotEntry
from mt3_model.notes.transcription import Precision
from mt3_model.spec import ModelSpec
from mt3_model.spectrogram.segments import silent_segment

_USUAL_COLUMNS = 256
"""Number of tokens for which every slot's past has room; that of a longer segment doubles while it
runs. 2 to 165 tokens per segment are usual; 694 is the most seen."""
_ROWS_PER_CORE = 16
"""A core reads the decoder's kernels (46 MB in bfloat16) once a step for all of its rows."""
_MOST_SLOTS = 256
"""Each takes 6 MB in bfloat16: half for cross-attention keys and values, half for the past."""


def suitable_kernel_shapes(slots: int | None = None) -> SlotShapes:
    """Return the shapes for this machine, with ``slots`` slots if a number is given."""
    default = SlotShapes()
    cores = usable_cores()
    slots = slots or min(max(_ROWS_PER_CORE * cores, default.rows[-1]), _MOST_SLOTS)
    return dataclasses.replace(
        default, rows=(slots,), encode_batches=(min(slots, max(cores, default.encode_batch)),)
    )


@dataclasses.dataclass(kw_only=True, slots=True)
class _Rows:
    """One row per slot, changed in place; `generation/state.py` documents the fields."""

    taken: np.ndarray
    """bool ``[R]``: whether the slot has a segment."""
    live: np.ndarray
    previous: np.ndarray
    """int32 ``[R]``: the token before the one to be predicted; 0 (padding) at position 0."""
    tokens: np.ndarray
    log_probabilities: np.ndarray
    positions: np.ndarray
    reference: np.ndarray
    scores: np.ndarray
    best_scores: np.ndarray
    lengths: np.ndarray
    restricted: np.ndarray
    """bool ``[R]``: whether the row has forbidden tokens."""
    forbidden: np.ndarray
    """bool ``[R, V]``: those of restricted rows; the rest is not read."""


def _empty_rows(rows: int, most_tokens: int, vocabulary: int) -> _Rows:
    return _Rows(
        taken=np.zeros(rows, bool),
        live=np.zeros(rows, bool),
        previous=np.zeros(rows, np.int32),
        tokens=np.zeros((rows, most_tokens), np.int32),
        log_probabilities=np.zeros((rows, most_tokens), np.float32),
        positions=np.zeros(rows, np.int32),
        reference=np.zeros(rows, bool),
        scores=np.zeros(rows, np.float32),
        best_scores=np.full(rows, -np.inf, np.float32),
        lengths=np.zeros(rows, np.int32),
        restricted=np.zeros(rows, bool),
        forbidden=np.zeros((rows, vocabulary), bool),
    )


class KernelPool:
    """All slots of a CPU with one set of parameters. Not thread-safe: one caller thread."""

    def __init__(
        self,
        spec: ModelSpec,
        parameters: Parameters,
        *,
        shapes: SlotShapes | None = None,
        cores: int | None = None,
        precision: Precision = "bfloat16",
        encodes_by_xla: bool | None = None,
        usual_columns: int = _USUAL_COLUMNS,
    ) -> None:
        """Pack the parameters.

        Args:
            spec: The model.
            parameters: The model's parameter tree, arrays of the host in float32.
            shapes: slots (the last entry of rows), encode batch, steps of an iteration; by default
                chosen for this machine.
            cores: Cores that compute; by default all that this process may use.
            precision: Precision of kernels, keys and values.
            encodes_by_xla: Whether XLA encodes (bfloat16 only); by default on processors with AMX.
            usual_columns: Columns of keys and values kept for every slot; a longer segment moves to
                separate, larger arrays.
        """
        self.spec = spec
        self.shapes = shapes or suitable_kernel_shapes()
        self.precision: Precision = precision
        self._stored = stored_dtype(precision)
        self._network = pack_network(parameters, spec.network, precision)
        self._cores = cores or usable_cores()
        self._threads = concurrent.futures.ThreadPoolExecutor(self._cores, "device")
        if encodes_by_xla is None:
            features = processor_features()
            encodes_by_xla = precision == "bfloat16" and xla_encodes_faster(features)
        self._encoder: Encoder
        if encodes_by_xla:
            # Imported only where it is used, because it imports Flax.
            from mt3_model.cpu.xla_encoder import XlaEncoder  # noqa: PLC0415

            self._encoder = XlaEncoder(spec, parameters)
        else:
            self._encoder = KernelEncoder(spec, self._network, self._threads)
        self._rows = _empty_rows(self.slots, spec.max_tokens, spec.network.vocabulary_size)
        # Pages that nothing was written to take no memory.
        self._encoded = self._keys_values(spec.segment_frames, self.slots)
        self._usual_past = self._keys_values(min(usual_columns, spec.max_tokens), self.slots)
        self._long_past: dict[int, np.ndarray] = {}  # of rows that have outgrown it
        self._kept = KeptColumns(
            past=np.stack([addresses_of(past) for past in self._usual_past]),
            columns=np.full(self.slots, self._usual_past.shape[4]),
            encoded=np.stack([addresses_of(encoded) for encoded in self._encoded]),
            frames=spec.segment_frames,
        )

    @property
    def slots(self) -> int:
        """Number of slots: segments that generate at once."""
        return self.shapes.rows[-1]

    @property
    def encode_batch(self) -> int:
        """Largest number of segments in one `insert`."""
        return self.shapes.encode_batch

    def warm_up(self) -> None:
        """Compile what recordings need, and run each method once."""
        self.insert([SlotEntry(slot=0, segment=silent_segment(self.spec), decoding="greedy")])
        self.step()
        self.release([0])

    def insert(self, entries: Sequence[SlotEntry]) -> None:
        """Encode 1 to ``encode_batch`` segments and start each in its free slot."""
        assert 0 < len(entries) <= self.encode_batch, "as many segments as an encode takes"
        samples = np.zeros((self.encode_batch, self.spec.segment_samples), np.float32)
        frames = np.zeros(self.encode_batch, np.int32)
        for number, entry in enumerate(entries):
            assert not self._rows.taken[entry.slot], f"slot {entry.slot} is taken"
            samples[number] = entry.segment.samples
            frames[number] = entry.segment.frames
        self._encoder.encode(samples, frames, [self._encoded[entry.slot] for entry in entries])
        rows = self._rows
        for entry in entries:
            row = entry.slot
            rows.taken[row] = rows.live[row] = True
            rows.reference[row] = entry.decoding == "reference"
            rows.restricted[row] = entry.forbidden is not None
            if entry.forbidden is not None:
                rows.forbidden[row] = entry.forbidden
            rows.previous[row] = rows.positions[row] = rows.lengths[row] = 0
            rows.scores[row], rows.best_scores[row] = 0, -np.inf

    def step(self) -> list[FinishedSlot]:
        """Generate up to ``iteration_steps`` tokens in every taken slot.

        Returns:
            The slots that ended, with their tokens; they are free again.
        """
        taken = np.flatnonzero(self._rows.taken)
        if not taken.size:
            return []
        for row in taken.tolist():
            self._make_room(row, int(self._rows.positions[row]) + self.shapes.iteration_steps)
        parts = np.array_split(taken, min(self._cores, taken.size))
        wait_for([self._threads.submit(self._run_steps, part) for part in parts])
        return self._collect(taken)

    def release(self, slots: Collection[int]) -> None:
        """Free these slots, whose segments are no longer wanted."""
        for row in slots:
            self._free(row)

    def _keys_values(self, columns: int, *rows: int) -> Stored:
        """Allocate keys and values ``[*rows, layers, 2, H, C, K]``."""
        network = self.spec.network
        shape = (network.decoder_layers, 2, network.heads, columns, network.head_width)
        return np.empty((*rows, *shape), self._stored)

    def _run_steps(self, rows: Int64[np.ndarray, "M"]) -> None:
        """Run up to ``iteration_steps`` generation steps of some rows, on one core."""
        state = self._rows
        for _ in range(self.shapes.iteration_steps):
            rows = rows[state.live[rows]]
            if not rows.size:
                return
            logits, normalizers = self._network.step(
                rows, state.previous, state.positions, self._kept
            )
            select_rows(
                rows,
                logits,
                normalizers,
                state.previous,
                state.tokens,
                state.log_probabilities,
                state.positions,
                state.reference,
                state.scores,
                state.best_scores,
                state.lengths,
                state.live,
                state.restricted,
                state.forbidden,
            )

    def _make_room(self, row: int, tokens: int) -> None:
        """Let the row's past hold so many tokens, up to the model's limit."""
        columns = int(self._kept.columns[row])
        needed = min(tokens, self.spec.max_tokens)
        if needed <= columns:
            return
        present = self._long_past.get(row, self._usual_past[row])
        larger = self._keys_values(min(2 * columns, self.spec.max_tokens))
        larger[:, :, :, :columns] = present
        self._keep_past(row, larger)
        self._long_past[row] = larger

    def _keep_past(self, row: int, past: np.ndarray) -> None:
        self._kept.past[row] = addresses_of(past)
        self._kept.columns[row] = past.shape[3]

    def _free(self, row: int) -> None:
        self._rows.taken[row] = self._rows.live[row] = False
        if self._long_past.pop(row, None) is not None:
            self._keep_past(row, self._usual_past[row])

    def _collect(self, taken: Int64[np.ndarray, "M"]) -> list[FinishedSlot]:
        """Return the tokens of rows that have ended or become NaN, and free their slots."""
        state = self._rows
        finished: list[FinishedSlot] = []
        for row in taken.tolist():
            is_broken = bool(np.isnan(state.scores[row]))
            if state.live[row] and not is_broken:
                continue
            generated = selection.read_result(
                state.tokens[row],
                state.log_probabilities[row],
                length=int(state.positions[row] if is_broken else state.lengths[row]),
                best_score=-np.inf if is_broken else float(state.best_scores[row]),
            )
            finished.append(FinishedSlot(slot=row, generated=generated))
            self._free(row)
        return finished
