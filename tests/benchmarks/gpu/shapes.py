"""Sets of static shapes by name, and the ones that are tried by default."""

from typing import Any

from mt3_model.generation.shapes import SlotShapes

SWEEP_ACCELERATOR = (
    "64/256/512x64x16", "32/256x32x16", "64/256x64x16", "64/512x64x16", "64/1024x64x16",
    "32/256x32x32", "64/512x64x32", "128/1024x128x32", "128/2048x128x16",
)  # fmt: skip
"""What `suitable_shapes` gives an accelerator, then the most promising and quickest to compile: the
time limit cuts the end off. The smallest bucket takes one encode batch."""
SWEEP_CPU = ("4/8x4x8",)


def parse_shapes(text: str) -> SlotShapes:
    """``64/256/512x64x16``: 64, 256 or 512 rows, 64 segments an encode, 16 steps a visit.

    Raises:
        ValueError: Not of this form, row buckets not ascending, or more segments in an encode than
            there are slots.
    """
    rows, encode_batch, visit_steps = text.split("x")
    shapes = SlotShapes(
        rows=tuple(int(bucket) for bucket in rows.split("/")),
        encode_batch=int(encode_batch),
        visit_steps=int(visit_steps),
    )
    if min(*shapes.rows, shapes.encode_batch, shapes.visit_steps) < 1:
        raise ValueError("a shape is 1 at the least")
    if list(shapes.rows) != sorted(set(shapes.rows)):
        raise ValueError("row buckets ascend")
    if shapes.encode_batch > shapes.rows[-1]:
        raise ValueError("an encode batch has no room in fewer rows")
    return shapes


def name_shapes(shapes: SlotShapes) -> str:
    """The text that `parse_shapes` reads."""
    return f"{'/'.join(map(str, shapes.rows))}x{shapes.encode_batch}x{shapes.visit_steps}"


def parse_shapes_of(result: dict[str, Any]) -> SlotShapes:
    """The shapes of a measured result."""
    shapes = result["shapes"]
    return SlotShapes(**{**shapes, "rows": tuple(shapes["rows"])})
