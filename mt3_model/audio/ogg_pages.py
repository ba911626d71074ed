"""The pages of an Ogg file -> whether it is whole, where it is damaged, whether it is chained.

libsndfile drops pages whose checksum fails without a word, and does not say that the page marked
as the stream's last never came. Every page carries its length, a sequence number and a CRC, so
walking them finds all three.

Source: RFC 3533, 6 (page header). The CRC has polynomial 0x04c11db7, no reflection and no
inversion, which is zlib's CRC of the bytes with their bits reversed: that is how 50 MB take a
tenth of a second instead of a minute of Python.
"""

import dataclasses
import struct
import zlib

from mt3_model.audio.windows import FileWindow

_HEADER = struct.Struct("<4sBBqIIIB")
_CRC_AT = slice(22, 26)
_FIRST, _LAST = 2, 4
_REVERSED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))
_NO_INVERSION = 0xFFFFFFFF
_OPUS_RATE = 48_000  # RFC 7845, 4: granules of Opus count 48 kHz, whatever the input's rate


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class PageScan:
    """What walking all pages found."""

    is_truncated: bool
    """The file ends inside a page, or without a page marked as the last."""
    is_chained: bool
    """A second recording follows the first in the same file."""
    breaks: int
    """Pages that are damaged or missing."""
    first_break: float | None
    """Seconds before the first of them, where the codec's rate is known."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class _Page:
    flags: int
    granule: int
    sequence: int
    serial: int
    size: int
    payload: bytes


def scan_pages(window: FileWindow) -> PageScan:
    """Walks an Ogg file from its first page to its end."""
    walk = _Walk()
    offset = max(0, _find_page(window, 0))
    while offset < window.size:
        page = _read_page(window, offset)
        if page is None:
            if window.size - offset < _HEADER.size or _is_cut(window, offset):
                walk.cut = True
                break
            walk.damage()
            offset = _find_page(window, offset + 1)
            if offset < 0:
                break
            continue
        walk.take(page)
        offset += page.size
    return PageScan(
        is_truncated=walk.cut or bool(walk.open_serials),
        is_chained=walk.chained,
        breaks=walk.breaks,
        first_break=walk.first_break,
    )


def page_checksum(page: bytes) -> int:
    """The CRC that a page should carry, given with zeros in its place."""
    reflected = zlib.crc32(page.translate(_REVERSED), _NO_INVERSION) ^ _NO_INVERSION
    return int.from_bytes(reflected.to_bytes(4, "little").translate(_REVERSED), "big")


class _Walk:
    """What is known after the pages so far."""

    def __init__(self) -> None:
        self.open_serials: set[int] = set()
        self.chained = False
        self.cut = False
        self.breaks = 0
        self.first_break: float | None = None
        self._sequences: dict[int, int] = {}
        self._data_seen = False
        self._rate: int | None = None
        self._granule = 0
        self._after_damage = False

    def take(self, page: _Page) -> None:
        """Adds the next whole page."""
        # A first page counts anew, also under a serial number that was used before.
        expected = None if page.flags & _FIRST else self._sequences.get(page.serial)
        if expected is not None and page.sequence != expected and not self._after_damage:
            self.damage()
        self._after_damage = False
        self._sequences[page.serial] = page.sequence + 1
        if page.flags & _FIRST:
            self.chained |= self._data_seen
            self._rate = self._rate or _rate_of(page.payload)
            self.open_serials.add(page.serial)
        elif page.granule > 0:
            self._data_seen = True
            self._granule = page.granule
        if page.flags & _LAST:
            self.open_serials.discard(page.serial)

    def damage(self) -> None:
        """Counts a page that is not what it should be."""
        self.breaks += 1
        self._after_damage = True
        if self.first_break is None and self._rate:
            self.first_break = self._granule / self._rate


def _read_page(window: FileWindow, offset: int) -> _Page | None:
    """The page at ``offset``; None where there is no whole one with the right sum."""
    head = window.at(offset, _HEADER.size)
    if len(head) < _HEADER.size or not head.startswith(b"OggS"):
        return None
    _, _, flags, granule, serial, sequence, checksum, segments = _HEADER.unpack(head)
    lacing = window.at(offset + _HEADER.size, segments)
    size = _HEADER.size + segments + sum(lacing)
    whole = bytearray(window.at(offset, size))
    if len(whole) < size:
        return None
    whole[_CRC_AT] = bytes(4)
    if page_checksum(bytes(whole)) != checksum:
        return None
    return _Page(
        flags=flags,
        granule=granule,
        sequence=sequence,
        serial=serial,
        size=size,
        payload=bytes(whole[_HEADER.size + segments : _HEADER.size + segments + 16]),
    )


def _is_cut(window: FileWindow, offset: int) -> bool:
    """Whether a page begins at ``offset`` that the file's end cuts."""
    head = window.at(offset, _HEADER.size)
    if not head.startswith(b"OggS"):
        return False
    segments = head[-1]
    lacing = window.at(offset + _HEADER.size, segments)
    size = _HEADER.size + segments + sum(lacing)
    return offset + size > window.size and _find_page(window, offset + 1) < 0


def _find_page(window: FileWindow, offset: int) -> int:
    """Offset of the next page mark, or -1."""
    while offset < window.size:
        piece = window.at(offset, 4_096)
        at = piece.find(b"OggS")
        if at >= 0:
            return offset + at
        if offset + len(piece) >= window.size:
            return -1
        offset += len(piece) - 3
    return -1


def _rate_of(payload: bytes) -> int | None:
    """Granules per second, from a codec's first packet."""
    if payload.startswith(b"OpusHead"):
        return _OPUS_RATE
    if payload.startswith(b"\x01vorbis"):
        return int.from_bytes(payload[12:16], "little") or None
    return None
