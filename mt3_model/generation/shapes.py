"""The static shapes of the device's programs: rows, columns, encode batch, steps of an iteration.

Each shape is compiled, so there are few. The cost of a step grows with its rows R and columns C, so
both are rounded up to buckets instead of always having their largest size.
"""

import dataclasses
from collections.abc import Iterator, Sequence

import jax
import numpy as np

from mt3_model.generation.precision import operand_dtype
from mt3_model.notes.transcription import Precision
from mt3_model.spec import ModelSpec

COLUMN_BUCKETS = (64, 128, 192, 256, 384, 512, 768, 1_024)
"""Columns C that the self-attention cache ``[R, H, C, K]`` may have. 2 to 165 tokens per segment
are usual, and 694 is the most seen. Attention reads all columns, so buckets are close where
segments usually end."""
WARM_COLUMNS = 192
"""Buckets up to this one are compiled by `warm_up` on a CPU. A larger one is compiled while the one
before it fills up: each program takes seconds to compile and tens of megabytes."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class SlotShapes:
    """The static shapes of each device's programs."""

    rows: tuple[int, ...] = (8, 16, 32)
    """Rows R that the state may have, ascending; the last is the number of slots. Programs of 8
    rows and more give the same bits on the CPUs seen so far; 4 do not (deploy/decisions/0005)."""
    encode_batches: tuple[int, ...] = (4,)
    """Segments B that may be encoded together, ascending; a shorter batch is padded and costs as
    much as the next of them."""
    iteration_steps: int = 8
    """Generation steps in one call of `step`. A slot that ends early is refilled after the call."""
    columns: tuple[int, ...] = COLUMN_BUCKETS
    """Columns C that the self-attention cache may have, ascending."""
    warm_columns: int = WARM_COLUMNS
    """Columns C up to which `warm_up` compiles."""

    @property
    def encode_batch(self) -> int:
        """The largest B."""
        return self.encode_batches[-1]

    def encode_batch_for(self, segments: int) -> int:
        """Return the smallest B that holds this many segments."""
        return next(batch for batch in self.encode_batches if batch >= segments)


def suitable_shapes(
    slots: int | None = None, *, one_column_bucket: bool = False, reproducible: bool = False
) -> SlotShapes:
    """Return the shapes for the devices that JAX found, with ``slots`` slots each if it is given.

    ``one_column_bucket`` is for attention that reads used columns only: more columns cost memory,
    fewer programs compile sooner. ``reproducible`` shapes have one number of rows too: sums are
    always added in the same order, whatever else the device generates, so a recording always has
    the same tokens. A step then costs as much with one live row as with all of them.

    An accelerator needs many rows to be busy (weights are read once a step, whatever the rows);
    512 of them hold 1.6 GB of cross-attention keys and values in bfloat16. Its shapes were the
    fastest of five on one NVIDIA H200 with XLA's attention (`tests/benchmarks/gpu`, 27 November
    2026): 3,178 times real time, where 32/256 rows, 32 segments an encode and 16 steps gave 2,594,
    and more rows gave less. The bucket of 128 rows is for a single song, which has 87 segments in
    three minutes; so is the encode batch of 16, because a song is read 16 segments at a time. All
    columns are compiled before use: a second of compiling later would delay thousands of seconds of
    audio, and the host has cores to compile them at once.
    """
    default = SlotShapes()
    if jax.default_backend() != "cpu":
        default = SlotShapes(
            rows=(64, 128, 256, 512),
            encode_batches=(16, 64),
            iteration_steps=16,
            warm_columns=COLUMN_BUCKETS[-1],
        )
    if slots is not None:
        default = dataclasses.replace(
            default,
            rows=_up_to(slots, default.rows),
            encode_batches=_up_to(min(slots, default.encode_batch), default.encode_batches),
        )
    if one_column_bucket or reproducible:
        default = dataclasses.replace(default, columns=COLUMN_BUCKETS[-1:])
    if reproducible:
        default = dataclasses.replace(
            default, rows=default.rows[-1:], encode_batches=default.encode_batches[-1:]
        )
    return default


def _up_to(largest: int, buckets: Sequence[int]) -> tuple[int, ...]:
    """Return the buckets below ``largest``, and ``largest``."""
    return (*(bucket for bucket in buckets if bucket < largest), largest)


def row_bytes(spec: ModelSpec, precision: Precision) -> int:
    """Return the bytes of a row's keys and values with the most columns: 16 MB in bfloat16."""
    network = spec.network
    columns = spec.max_tokens + spec.segment_frames
    vectors = 2 * network.decoder_layers * network.heads * columns
    return vectors * network.head_width * np.dtype(operand_dtype(precision)).itemsize


def fit_memory(shapes: SlotShapes, bytes_of_a_row: int, memory: int | None) -> SlotShapes:
    """Drop the largest buckets of rows that do not fit the device.

    Rows move to another bucket while the old ones are still there, and the rest of the memory is
    for parameters and an encode batch.

    Args:
        shapes: The shapes that suit the device otherwise.
        bytes_of_a_row: The result of `row_bytes`.
        memory: Bytes that JAX may use on the device; None keeps the shapes.
    """
    rows = shapes.rows
    while memory is not None and len(rows) > 1 and sum(rows[-2:]) * bytes_of_a_row > 0.8 * memory:
        rows = rows[:-1]
    return dataclasses.replace(shapes, rows=rows)


def column_buckets(max_tokens: int, columns: Sequence[int] = COLUMN_BUCKETS) -> tuple[int, ...]:
    """Return the columns that the cache may have, ascending; the last holds ``max_tokens``."""
    return tuple(sorted({min(bucket, max_tokens) for bucket in columns}))


def bucket_path(buckets: Sequence[int], now: int, needed: int) -> Iterator[int]:
    """Yield the buckets from that of ``now`` to the smallest that holds ``needed``, or the last.

    One after the other, so that there are few programs: one for each pair of neighbors.
    """
    wanted = next((bucket for bucket in buckets if bucket >= needed), buckets[-1])
    at, end = buckets.index(now), buckets.index(wanted)
    yield from buckets[at + 1 : end + 1] if at < end else reversed(buckets[end:at])
