"""A picture as a list of shapes -> SVG or PNG.

Both writers read the same shapes, so both files show the same. Shapes are painted in order, and
lengths are in units of one CSS pixel. The PNG is drawn by Pillow, with two pixels per unit
unless the picture is large, and with the font that is part of Pillow: no system font is used and no
state is shared between drawings.
"""

import dataclasses
import functools
import io
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from typing import Literal
from xml.sax import saxutils

from PIL import Image, ImageDraw, ImageFont

MAX_SHARP_PIXELS = 12_000_000
"""The maximum number of pixels of a PNG with two pixels per unit (36 MB while it is drawn); a
picture that would need more gets one pixel per unit."""
_FONT = "Helvetica, Arial, sans-serif"
_BYTE = 255

Anchor = Literal["start", "middle", "end"]


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Rectangles:
    """Rectangles of one colour. Where they overlap each other, the colour does not get darker."""

    boxes: Sequence[tuple[float, float, float, float]]
    """Left, top, width, height."""
    colour: str
    """``#RRGGBB``."""
    opacity: float = 1.0
    """In (0, 1]."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Text:
    """One line of text."""

    x: float
    baseline: float
    text: str
    size: float
    """The height of the font."""
    colour: str = "#333333"
    anchor: Anchor = "start"
    """The point of the text that is at ``x``."""


Shape = Rectangles | Text


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Picture:
    """Shapes on white."""

    width: int
    height: int
    shapes: Sequence[Shape]
    description: str
    """A text alternative for screen readers (SVG only)."""


def write_svg(picture: Picture) -> bytes:
    """Write a picture as an SVG file, with text as text."""
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{picture.width}" '
        f'height="{picture.height}" viewBox="0 0 {picture.width} {picture.height}" '
        f'role="img" font-family="{_FONT}">\n'
        f"<title>{_escape(picture.description)}</title>\n"
        f'<rect width="{picture.width}" height="{picture.height}" fill="#FFFFFF"/>\n'
    )
    return (head + "".join(_svg_elements(picture.shapes)) + "</svg>\n").encode()


def write_png(picture: Picture) -> bytes:
    """Write a picture as a PNG file."""
    is_sharp = 4 * picture.width * picture.height <= MAX_SHARP_PIXELS
    scale = 2 if is_sharp else 1
    image = Image.new("RGB", (picture.width * scale, picture.height * scale), "#FFFFFF")
    # The mode RGBA blends colours with an opacity into the RGB image.
    draw = ImageDraw.Draw(image, "RGBA")
    for shape in picture.shapes:
        match shape:
            case Rectangles():
                _draw_rectangles(draw, shape, scale)
            case Text():
                draw.text(
                    (shape.x * scale, shape.baseline * scale),
                    _without_accents(shape.text),
                    fill=shape.colour,
                    font=_font(round(shape.size * scale)),
                    anchor={"start": "ls", "middle": "ms", "end": "rs"}[shape.anchor],
                )
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


def text_width(text: str, size: float) -> float:
    """Return the width of a line of text in the PNG's font."""
    return _font(round(size)).getlength(_without_accents(text))


def _svg_elements(shapes: Iterable[Shape]) -> Iterator[str]:
    for shape in shapes:
        match shape:
            case Rectangles():
                # One path for all: an hour of music is megabytes with an element per note.
                path = "".join(
                    f"M{_number(left)} {_number(top)}h{_number(width)}v{_number(height)}"
                    f"h{_number(-width)}z"
                    for left, top, width, height in shape.boxes
                )
                opacity = f' opacity="{shape.opacity:.2f}"' if shape.opacity < 1 else ""
                yield f'<path fill="{shape.colour}"{opacity} d="{path}"/>\n'
            case Text():
                anchor = "" if shape.anchor == "start" else f' text-anchor="{shape.anchor}"'
                yield (
                    f'<text x="{_number(shape.x)}" y="{_number(shape.baseline)}" '
                    f'font-size="{_number(shape.size)}" fill="{shape.colour}"{anchor}>'
                    f"{_escape(shape.text)}</text>\n"
                )


def _number(value: float) -> str:
    """Return a number with at most two decimals."""
    return f"{value:.2f}".rstrip("0").rstrip(".")


def _escape(text: str) -> str:
    """Return text for XML, without the control characters that XML cannot hold."""
    return saxutils.escape("".join(c for c in text if c.isprintable()))


def _without_accents(text: str) -> str:
    """Return text without its accents: Pillow's font has hardly more than ASCII."""
    decomposed = unicodedata.normalize("NFKD", text)
    return "".join(c for c in decomposed if not unicodedata.combining(c))


def _draw_rectangles(draw: ImageDraw.ImageDraw, shape: Rectangles, scale: int) -> None:
    fill = (*_rgb(shape.colour), round(shape.opacity * _BYTE))
    for left, top, width, height in shape.boxes:
        x, y = round(left * scale), round(top * scale)
        # Pillow's last pixel belongs to the rectangle. The thinnest is one pixel.
        right = max(round((left + width) * scale) - 1, x)
        bottom = max(round((top + height) * scale) - 1, y)
        draw.rectangle((x, y, right, bottom), fill=fill)


def _rgb(colour: str) -> tuple[int, int, int]:
    value = int(colour[1:], 16)
    return value >> 16, value >> 8 & _BYTE, value & _BYTE


@functools.cache
def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)
