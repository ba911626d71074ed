"""The static shapes of the device's programs: how many rows, columns, segments and steps.

Few and fixed, because each is compiled; rows and columns in buckets, because cost follows them.
"""

import dataclasses
from collections.abc import Iterator, Sequence

import jax

COLUMN_BUCKETS = (64, 128, 192, 256, 384, 512, 768, 1_024)
"""Columns the caches may have: 2 to 165 tokens per segment are usual, 694 the most seen.
Attention reads them all, so they are close where segments usually end."""
WARM_COLUMNS = 192
"""The first bucket and others up to here are compiled before the first recording comes. A larger
one is compiled while the one before it fills up: each program takes seconds to build and tens of
megabytes."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class SlotShapes:
    """The static shapes, per device; each is compiled once."""

    rows: tuple[int, ...] = (8, 16, 32)
    """Rows that the state may have, ascending; the last are the slots. From 8 rows up they give the
    same bits on the CPUs seen so far; 4 do not (deploy/decisions/0005)."""
    encode_batch: int = 4
    """Segments encoded together; a shorter batch is padded and costs as much."""
    visit_steps: int = 8
    """Generation steps of a visit: a slot that ends early waits so long at most to be refilled."""


def suitable_shapes(slots: int | None = None) -> SlotShapes:
    """The shapes for the devices that JAX found, with ``slots`` slots each if a number is given.

    An accelerator wants many rows to fill it (weights are read once a step, whatever the rows);
    256 of them hold 0.8 GB of cross-attention keys and values in bfloat16. Its shapes have not
    been measured yet.
    """
    default = SlotShapes()
    if jax.default_backend() != "cpu":
        default = SlotShapes(rows=(32, 256), encode_batch=32, visit_steps=16)
    if slots is None:
        return default
    rows = (*(few for few in default.rows if few < slots), slots)
    return dataclasses.replace(default, rows=rows, encode_batch=min(slots, default.encode_batch))


def column_buckets(max_tokens: int) -> tuple[int, ...]:
    """The columns that caches may have, ascending; the last holds ``max_tokens``."""
    return tuple(sorted({min(bucket, max_tokens) for bucket in COLUMN_BUCKETS}))


def bucket_path(buckets: Sequence[int], now: int, needed: int) -> Iterator[int]:
    """The buckets from that of ``now`` to the smallest that holds ``needed`` (or the last).

    One after the other, so that there are few programs: one per pair of neighbours.
    """
    wanted = next((bucket for bucket in buckets if bucket >= needed), buckets[-1])
    at, end = buckets.index(now), buckets.index(wanted)
    yield from buckets[at + 1 : end + 1] if at < end else reversed(buckets[end:at])
