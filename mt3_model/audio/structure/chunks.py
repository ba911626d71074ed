"""Walk the chunks of RIFF, AIFF, Wave64 and CAF, and the boxes of mp4, without their contents."""

import dataclasses
from collections.abc import Iterator
from typing import Literal

from mt3_model.audio.file_views import FileWindow

_MAX_CHUNKS = 100_000
_BOX_HEADER_BYTES = 8


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class ChunkFormat:
    """The layout of a format's chunk headers: a name, then the size of the content."""

    begin: int
    """Offset of the first chunk in the file."""
    name_bytes: int = 4
    size_bytes: int = 4
    order: Literal["little", "big"] = "little"
    alignment: int = 2
    """Chunks begin at multiples of this."""
    counts_header: bool = False
    """Whether the stated size includes the header."""


RIFF = ChunkFormat(begin=12)
"""Source: Microsoft Multimedia Programming Interface 1.0."""
RIFX = ChunkFormat(begin=12, order="big")
AIFF = RIFX
"""Source: Apple AIFF 1.3."""
WAVE64 = ChunkFormat(begin=40, name_bytes=16, size_bytes=8, alignment=8, counts_header=True)
"""Source: Sony Wave64: a GUID as name."""
CAF = ChunkFormat(begin=8, size_bytes=8, order="big", alignment=1)
"""Source: Apple Core Audio Format 1.0."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Chunk:
    """One chunk or box."""

    name: bytes
    start: int
    """Offset of its header."""
    content: int
    """Offset of its content."""
    size: int
    """Bytes of its content, as stated."""

    @property
    def end(self) -> int:
        """Offset after its last byte, padding apart."""
        return self.content + self.size


def walk_chunks(window: FileWindow, layout: ChunkFormat) -> Iterator[Chunk]:
    """Yield the chunks of a file in order, as far as the file's bytes go."""
    offset, header = layout.begin, layout.name_bytes + layout.size_bytes
    for _ in range(_MAX_CHUNKS):
        head = window.at(offset, header)
        if len(head) < header:
            return
        size = int.from_bytes(head[layout.name_bytes :], layout.order)
        size -= header if layout.counts_header else 0
        if size < 0:
            return
        name = head[: layout.name_bytes]
        yield Chunk(name=name, start=offset, content=offset + header, size=size)
        offset += header + round_up(size, layout.alignment)


def find_chunk(window: FileWindow, layout: ChunkFormat, name: bytes) -> Chunk | None:
    """Return the first chunk called ``name``; None where there is none."""
    return next((chunk for chunk in walk_chunks(window, layout) if chunk.name == name), None)


def walk_boxes(window: FileWindow, begin: int = 0, end: int | None = None) -> Iterator[Chunk]:
    """Yield the boxes of an mp4, or those of the box with the content ``[begin, end)``.

    Source: ISO/IEC 14496-12, 4.2: size 1 announces a size of 64 bits after the name; size 0
    extends to the end.
    """
    offset, end = begin, window.size if end is None else end
    for _ in range(_MAX_CHUNKS):
        head = window.at(offset, 2 * _BOX_HEADER_BYTES)
        if len(head) < _BOX_HEADER_BYTES or offset >= end:
            return
        size, header = int.from_bytes(head[:4], "big"), _BOX_HEADER_BYTES
        if size == 1:
            size, header = int.from_bytes(head[8:], "big"), 2 * _BOX_HEADER_BYTES
        if size == 0:
            size = end - offset
        if size < header:
            return
        yield Chunk(name=head[4:8], start=offset, content=offset + header, size=size - header)
        offset += size


def round_up(size: int, alignment: int) -> int:
    """Return the lowest multiple of ``alignment`` that is ``size`` or more."""
    return (size + alignment - 1) // alignment * alignment
