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
        ValueError: Not of this form, row buckets not ascending, or more segments in an encode than
            there are slots.
    """
    rows, encoded, iteration_steps, *columns = text.split("x")
    if len(columns) > 1:
        raise ValueError("a shape has three parts or four")
    *few, encode_batch = (int(batch) for batch in encoded.split("/"))
    shapes = SlotShapes(
        rows=tuple(int(bucket) for bucket in rows.split("/")),
        encode_batch=encode_batch,
        few_encoded=few[0] if few else None,
        iteration_steps=int(iteration_steps),
        columns=tuple(int(c) for c in columns[0].split("/")) if columns else COLUMN_BUCKETS,
    )
    if min(*shapes.rows, *shapes.columns, shapes.encode_batch, shapes.iteration_steps) < 1:
        raise ValueError("a shape is 1 at the least")
    if list(shapes.rows) != sorted(set(shapes.rows)):
        raise ValueError("row buckets ascend")
    if len(few) > 1 or (few and not 1 <= few[0] < encode_batch):
        raise ValueError("a small encode batch is smaller than the other one")
    if shapes.encode_batch > shapes.rows[-1]:
        raise ValueError("an encode batch has no room in fewer rows")
    return shapes


def name_shapes(shapes: SlotShapes) -> str:
    """The text that `parse_shapes` reads."""
    columns = "" if shapes.columns == COLUMN_BUCKETS else "x" + "/".join(map(str, shapes.columns))
    rows = "/".join(map(str, shapes.rows))
    few = "" if shapes.few_encoded is None else f"{shapes.few_encoded}/"
    return f"{rows}x{few}{shapes.encode_batch}x{shapes.iteration_steps}{columns}"


def one_program(shapes: SlotShapes) -> SlotShapes:
    """The smallest rows with the most columns: one step program, and slots that are used again."""
    return dataclasses.replace(shapes, rows=shapes.rows[:1], columns=COLUMN_BUCKETS[-1:])


def parse_shapes_of(result: dict[str, Any]) -> SlotShapes:
    """The shapes of a measured result."""
    shapes = result["shapes"]
    return SlotShapes(
        **{**shapes, "rows": tuple(shapes["rows"]), "columns": tuple(shapes["columns"])}
    )
