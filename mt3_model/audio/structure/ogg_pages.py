"""Walk the pages of an Ogg file: find damage, a cut end, chained streams and the first position.

libsndfile silently drops pages whose checksum is wrong, and does not report that the page marked
as the last of the stream is missing. Every page has its length, a sequence number and a CRC, so
walking the pages finds all of it.

Source: RFC 3533, 6 (page header). The CRC has polynomial 0x04c11db7, no reflection and no
inversion. It equals zlib's CRC of the bytes with their bits reversed; zlib needs a tenth of a
second for 50 MB, a loop in Python a minute.
"""

import dataclasses
import struct
import zlib

from mt3_model.audio.file_views import FileWindow
from mt3_model.audio.structure.ogg_packets import StreamStart

_HEADER = struct.Struct("<4sBBqIIIB")
_MARK = b"OggS"
_CRC_BYTES = slice(22, 26)
CONTINUED, FIRST, LAST = 1, 2, 4
"""The flags of a page."""
_MAX_STREAMS = 64
_REVERSED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))
_NO_INVERSION = 0xFFFFFFFF


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class PageScan:
    """The result of walking all pages."""

    is_truncated: bool
    """The file ends inside a page, or without a page marked as the last."""
    is_chained: bool
    """A second recording follows the first in the same file."""
    breaks: int
    """Number of damaged or missing pages."""
    first_break: float | None
    """Position of the first of them in seconds, where the rate of the codec is known."""
    start: float | None
    """Seconds of the stream's clock at its first sample: negative where the stream was cut without
    encoding it again, large where it is a capture of a running stream. None where it is unknown,
    or where several streams share the file."""
    seconds: float | None
    """Length from time 0 of the clock, or from the first sample where that is later."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Page:
    """A page with a correct CRC."""

    flags: int
    granule: int
    sequence: int
    serial: int
    size: int
    lacing: bytes
    body: bytes


def scan_pages(window: FileWindow) -> PageScan:
    """Walk an Ogg file from its first page to its end."""
    walker = _PageWalker()
    offset = max(0, window.find(_MARK, 0))
    while offset < window.size:
        page = read_page(window, offset)
        if page is None:
            if window.size - offset < _HEADER.size or _is_cut(window, offset):
                walker.is_cut = True
                break
            walker.add_break()
            offset = window.find(_MARK, offset + 1)
            if offset < 0:
                break
            continue
        walker.add_page(page)
        offset += page.size
    return PageScan(
        is_truncated=walker.is_cut or bool(walker.open_serials),
        is_chained=walker.is_chained,
        breaks=walker.breaks,
        first_break=walker.first_break,
        start=walker.start,
        seconds=walker.seconds,
    )


def page_checksum(page: bytes) -> int:
    """Return the CRC of a page whose own CRC field is zero."""
    reflected = zlib.crc32(page.translate(_REVERSED), _NO_INVERSION) ^ _NO_INVERSION
    return int.from_bytes(reflected.to_bytes(4, "little").translate(_REVERSED), "big")


class _PageWalker:
    """Collects the facts about a file, page by page."""

    def __init__(self) -> None:
        self.open_serials: set[int] = set()
        self.is_chained = False
        self.is_cut = False
        self.breaks = 0
        self.first_break: float | None = None
        self._sequences: dict[int, int] = {}
        self._streams: dict[int, StreamStart] = {}  # those that begin before any sound
        self._has_data = False
        self._granule = 0
        self._after_damage = False

    @property
    def start(self) -> float | None:
        """Seconds of the clock at the first sample, where the file has one stream."""
        stream = self._only_stream()
        if stream is None or stream.codec is None or stream.position is None:
            return None
        return stream.position / stream.codec.rate

    @property
    def seconds(self) -> float | None:
        """Length of the only stream, from time 0 of its clock or its later beginning."""
        stream = self._only_stream()
        if self.is_chained or stream is None or stream.codec is None or stream.position is None:
            return None
        length = self._granule - stream.codec.pre_skip - max(0, stream.position)
        return max(0, length) / stream.codec.rate

    def add_page(self, page: Page) -> None:
        """Add the next whole page."""
        # A first page starts a new count, even with a serial number that was used before.
        expected = None if page.flags & FIRST else self._sequences.get(page.serial)
        is_gap = expected is not None and page.sequence != expected and not self._after_damage
        self._sequences[page.serial] = page.sequence + 1
        is_beginning = not page.flags & FIRST and self._add_to_stream(page)
        # A capture of a running stream has the headers, then the pages from the moment of joining.
        if is_gap and not is_beginning:
            self.add_break()
        self._after_damage = False
        if page.flags & FIRST:
            self.is_chained |= self._has_data
            self.open_serials.add(page.serial)
            if not self._has_data and len(self._streams) < _MAX_STREAMS:
                self._streams[page.serial] = StreamStart(page.body)
        elif page.granule > 0:
            self._has_data = True
            self._granule = page.granule
        if page.flags & LAST:
            self.open_serials.discard(page.serial)

    def add_break(self) -> None:
        """Count a damaged or missing page."""
        self.breaks += 1
        self._after_damage = True
        rates = [stream.codec.rate for stream in self._streams.values() if stream.codec]
        if self.first_break is None and rates:
            begin = max(0.0, self.start or 0.0)
            self.first_break = max(0.0, self._granule / rates[0] - begin)

    def _add_to_stream(self, page: Page) -> bool:
        """Add a page to its stream; return whether it is the first one with sound."""
        stream = self._streams.get(page.serial)
        if stream is None or self.is_chained or stream.is_done:
            return False
        had_sound = stream.has_sound
        stream.add(
            page.lacing,
            page.body,
            granule=page.granule,
            is_continued=bool(page.flags & CONTINUED),
            is_last=bool(page.flags & LAST),
        )
        return stream.has_sound and not had_sound

    def _only_stream(self) -> StreamStart | None:
        return next(iter(self._streams.values())) if len(self._streams) == 1 else None


def read_page(window: FileWindow, offset: int) -> Page | None:
    """Return the page at ``offset``; None where there is no whole page with a correct CRC."""
    head = window.at(offset, _HEADER.size)
    if len(head) < _HEADER.size or not head.startswith(_MARK):
        return None
    _, _, flags, granule, serial, sequence, checksum, segments = _HEADER.unpack(head)
    lacing = window.at(offset + _HEADER.size, segments)
    size = _HEADER.size + segments + sum(lacing)
    whole = bytearray(window.at(offset, size))
    if len(whole) < size:
        return None
    whole[_CRC_BYTES] = bytes(4)
    if page_checksum(bytes(whole)) != checksum:
        return None
    return Page(
        flags=flags,
        granule=granule,
        sequence=sequence,
        serial=serial,
        size=size,
        lacing=lacing,
        body=bytes(whole[_HEADER.size + segments :]),
    )


def _is_cut(window: FileWindow, offset: int) -> bool:
    """Whether the page that begins at ``offset`` is cut by the end of the file."""
    head = window.at(offset, _HEADER.size)
    if not head.startswith(_MARK):
        return False
    segments = head[-1]
    lacing = window.at(offset + _HEADER.size, segments)
    size = _HEADER.size + segments + sum(lacing)
    return offset + size > window.size and window.find(_MARK, offset + 1) < 0
