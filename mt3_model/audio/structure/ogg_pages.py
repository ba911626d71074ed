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

from mt3_model.audio.file_views import FileWindow
from mt3_model.audio.structure.ogg_packets import StreamStart

_HEADER = struct.Struct("<4sBBqIIIB")
_CRC_AT = slice(22, 26)
_CONTINUED, _FIRST, _LAST = 1, 2, 4
_MAX_STREAMS = 64
_REVERSED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))
_NO_INVERSION = 0xFFFFFFFF


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
    start: float | None
    """Seconds of the stream's clock at its first sample: negative where it was cut without being
    encoded again, large where it was recorded while it ran. None where it is not known, or where
    several streams share the file."""
    seconds: float | None
    """Length from the clock's 0, or from the first sample where that is later."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class _Page:
    flags: int
    granule: int
    sequence: int
    serial: int
    size: int
    lacing: bytes
    body: bytes


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
        start=walk.start,
        seconds=walk.seconds,
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
        self._streams: dict[int, StreamStart] = {}  # those that begin before any sound
        self._data_seen = False
        self._granule = 0
        self._after_damage = False

    @property
    def start(self) -> float | None:
        """Seconds of the clock at the only stream's first sample."""
        stream = self._only_stream()
        if stream is None or stream.timer is None or stream.position is None:
            return None
        return stream.position / stream.timer.rate

    @property
    def seconds(self) -> float | None:
        """Seconds of the only stream, from its clock's 0 or its later beginning."""
        stream = self._only_stream()
        if self.chained or stream is None or stream.timer is None or stream.position is None:
            return None
        length = self._granule - stream.timer.pre_skip - max(0, stream.position)
        return max(0, length) / stream.timer.rate

    def take(self, page: _Page) -> None:
        """Adds the next whole page."""
        # A first page counts anew, also under a serial number that was used before.
        expected = None if page.flags & _FIRST else self._sequences.get(page.serial)
        is_gap = expected is not None and page.sequence != expected and not self._after_damage
        self._sequences[page.serial] = page.sequence + 1
        is_beginning = not page.flags & _FIRST and self._add_to_stream(page)
        # Whoever joins a running stream gets its headers, and then the pages of the moment.
        if is_gap and not is_beginning:
            self.damage()
        self._after_damage = False
        if page.flags & _FIRST:
            self.chained |= self._data_seen
            self.open_serials.add(page.serial)
            if not self._data_seen and len(self._streams) < _MAX_STREAMS:
                self._streams[page.serial] = StreamStart(page.body)
        elif page.granule > 0:
            self._data_seen = True
            self._granule = page.granule
        if page.flags & _LAST:
            self.open_serials.discard(page.serial)

    def damage(self) -> None:
        """Counts a page that is not what it should be."""
        self.breaks += 1
        self._after_damage = True
        rates = [stream.timer.rate for stream in self._streams.values() if stream.timer]
        if self.first_break is None and rates:
            begin = max(0.0, self.start or 0.0)
            self.first_break = max(0.0, self._granule / rates[0] - begin)

    def _add_to_stream(self, page: _Page) -> bool:
        """Adds a page to its stream; returns whether it is the first one with sound."""
        stream = self._streams.get(page.serial)
        if stream is None or self.chained or stream.is_done:
            return False
        was_in_sound = stream.in_sound
        stream.add(
            page.lacing,
            page.body,
            granule=page.granule,
            is_continued=bool(page.flags & _CONTINUED),
            is_last=bool(page.flags & _LAST),
        )
        return stream.in_sound and not was_in_sound

    def _only_stream(self) -> StreamStart | None:
        return next(iter(self._streams.values())) if len(self._streams) == 1 else None


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
        lacing=lacing,
        body=bytes(whole[_HEADER.size + segments :]),
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
