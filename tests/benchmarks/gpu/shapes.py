"""Sets of static shapes by name, and the ones that are tried by default."""

import dataclasses
from typing import Any

from mt3_model.generation.shapes import COLUMN_BUCKETS, SlotShapes

SWEEP_ACCELERATOR = (
    "64/256/512x64x16x1024", "64/256/512x64x16", "64/256/512/768x64x16x1024",
    "64/256/512x64x8x1024", "64/512x64x16x1024", "32/256x32x16x1024", "128/1024x128x16x1024",
)  # fmt: skip
"""The shapes of `suitable_shapes` for an NVIDIA GPU, then for another accelerator, then the most
promising and quickest to compile, because the time limit may end the list early. The smallest
bucket takes one encode batch."""
SWEEP_CPU = ("4/8x4x8",)


def parse_shapes(text: str) -> SlotShapes:
    """``64/256/512x64x16``: 64, 256 or 512 rows, 64 segments an encode, 16 steps an iteration.

    ``16/64`` in the place of 64 means a second program for batches of up to 16 segments. A fourth
    part names the columns (``64/128/1024``); by default the library's buckets.

    Raises:
        ValueError: Not of this form, rows or encode batches not ascending, or more segments in an
            encode than there are slots.
    """
    rows, encoded, iteration_steps, *columns = text.split("x")
    if len(columns) > 1:
        raise ValueError("a shape has three parts or four")
    shapes = SlotShapes(
        rows=tuple(int(bucket) for bucket in rows.split("/")),
        encode_batches=tuple(int(batch) for batch in encoded.split("/")),
        iteration_steps=int(iteration_steps),
        columns=tuple(int(c) for c in columns[0].split("/")) if columns else COLUMN_BUCKETS,
    )
    if min(*shapes.rows, *shapes.columns, *shapes.encode_batches, shapes.iteration_steps) < 1:
        raise ValueError("a shape is 1 at the least")
    if list(shapes.rows) != sorted(set(shapes.rows)):
        raise ValueError("row buckets ascend")
    if list(shapes.encode_batches) != sorted(set(shapes.encode_batches)):
        raise ValueError("encode batches ascend")
    if shapes.encode_batch > shapes.rows[-1]:
        raise ValueError("an encode batch has no room in fewer rows")
    return shapes


def name_shapes(shapes: SlotShapes) -> str:
    """The text that `parse_shapes` reads."""
    columns = "" if shapes.columns == COLUMN_BUCKETS else "x" + "/".join(map(str, shapes.columns))
    rows = "/".join(map(str, shapes.rows))
    batches = "/".join(map(str, shapes.encode_batches))
    return f"{rows}x{batches}x{shapes.iteration_steps}{columns}"


def one_program(shapes: SlotShapes) -> SlotShapes:
    """The smallest rows with the most columns: one step program, and slots that are used again."""
    return dataclasses.replace(shapes, rows=shapes.rows[:1], columns=COLUMN_BUCKETS[-1:])


def parse_shapes_of(result: dict[str, Any]) -> SlotShapes:
    """The shapes of a measured result."""
    return SlotShapes(
        **{
            name: tuple(value) if isinstance(value, list) else value
            for name, value in result["shapes"].items()
        }
    )
