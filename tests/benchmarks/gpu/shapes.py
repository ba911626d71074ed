"""Sets of static shapes by name, and the ones that are tried by default."""

from typing import Any

from mt3_model.generation.slots import SlotShapes

SWEEP_ACCELERATOR = (
    "256x32x16", "256x64x16", "512x64x16", "1024x64x16", "512+512x64x16", "256x32x32", "512x64x32",
    "1024x128x32", "2048x128x16",
)  # fmt: skip
"""Most promising and quickest to compile first: the time limit cuts the end off."""
SWEEP_CPU = ("8x4x16",)


def parse_shapes(text: str) -> SlotShapes:
    """``8+256x32x16``: groups of 8 and 256 rows, 32 segments an encode, 16 steps a visit."""
    rows, encode_batch, visit_steps = text.split("x")
    shapes = SlotShapes(
        rows=tuple(int(group) for group in rows.split("+")),
        encode_batch=int(encode_batch),
        visit_steps=int(visit_steps),
    )
    if shapes.encode_batch > sum(shapes.rows):
        raise ValueError("an encode batch has no room in fewer rows")
    return shapes


def name_shapes(shapes: SlotShapes) -> str:
    """The text that `parse_shapes` reads."""
    return f"{'+'.join(map(str, shapes.rows))}x{shapes.encode_batch}x{shapes.visit_steps}"


def parse_shapes_of(result: dict[str, Any]) -> SlotShapes:
    """The shapes of a measured result."""
    shapes = result["shapes"]
    return SlotShapes(**{**shapes, "rows": tuple(shapes["rows"])})
