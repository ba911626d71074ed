"""Take Ogg files apart into pages, and put them together again with correct checksums."""

import struct
from collections.abc import Iterable

from mt3_model.audio.structure.ogg_pages import page_checksum

FLAGS, POSITION, SERIAL, SEQUENCE = slice(5, 6), slice(6, 14), slice(14, 18), slice(18, 22)
"""Fields of a page's header; RFC 3533, 6."""
_CHECKSUM, _HEADER = slice(22, 26), 27


def split_pages(content: bytes) -> list[bytearray]:
    """Return the pages of an undamaged Ogg file."""
    pages, at = list[bytearray](), 0
    while at < len(content):
        size = body_offset(content[at:]) + sum(
            content[at + _HEADER : at + body_offset(content[at:])]
        )
        pages.append(bytearray(content[at : at + size]))
        at += size
    return pages


def body_offset(page: bytes) -> int:
    """Return the offset of the first packet in a page."""
    return _HEADER + page[_HEADER - 1]


def move_page(page: bytearray, samples: int) -> bytearray:
    """Add samples to the position of a page, unless it has none (-1)."""
    (position,) = struct.unpack("<q", page[POSITION])
    if position != -1:
        page[POSITION] = struct.pack("<q", position + samples)
    return page


def join_pages(pages: Iterable[bytearray]) -> bytes:
    """Return the file of the pages, with new checksums."""
    sealed = bytearray()
    for page in pages:
        page[_CHECKSUM] = bytes(4)
        page[_CHECKSUM] = struct.pack("<I", page_checksum(bytes(page)))
        sealed += page
    return bytes(sealed)
