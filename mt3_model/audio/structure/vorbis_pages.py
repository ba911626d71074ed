"""Divide a Vorbis stream into stretches of whole pages that a decoder can decode independently.

A Vorbis block overlaps only the one before it. So a decoder that gets the stream's headers and
then the pages from any page on returns the stream's own samples, beginning with those in which the
first two blocks on that page overlap. The lengths of the packets say where that is. Every page
states the position of its last sample; where a position is not the sum of the lengths, samples
would be counted differently from different pages, and the search ends.

Sources: Vorbis I specification, 4.3.8 (overlap) and A.2 (positions of pages); RFC 3533, 6.
"""

import collections
import dataclasses
from collections.abc import Iterator

from mt3_model.audio.file_views import FileWindow
from mt3_model.audio.structure.ogg_packets import PacketSplitter, Vorbis, find_codec
from mt3_model.audio.structure.ogg_pages import CONTINUED, FIRST, LAST, Page, read_page

_MAX_PAGES = 1_000
"""Limit of pages in a stretch; a page has at most 64 KiB, usually 4."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class PageRange:
    """Pages from which a decoder gets a stretch of samples."""

    header_bytes: int
    """The headers are the first bytes of the file."""
    start: int
    """Offset of the first page."""
    stop: int
    """Offset after the last page."""
    skip: int
    """Number of samples that a decoder returns before the first one of the stretch."""
    count: int
    """Number of samples of the stretch."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class _SoundPage:
    start: int
    stop: int
    first_sample: int
    """The first sample that a decoder returns which begins with this page."""
    past_sample: int
    """The sample after the last one that can be decoded up to the end of this page."""
    is_start: bool
    """Whether a decoder can begin here."""


def find_page_ranges(window: FileWindow, borders: Iterator[tuple[int, int]]) -> Iterator[PageRange]:
    """Yield the pages of each stretch, up to the first irregularity.

    Args:
        window: an Ogg file.
        borders: first sample of each stretch and the one after its last, in order.
    """
    headers = _read_headers(window)
    if headers is None:
        return
    codec, serial, header_bytes = headers
    pages = _sound_pages(window, codec, serial, header_bytes)
    kept: collections.deque[_SoundPage] = collections.deque()
    for begin, end in borders:
        while not kept or kept[-1].past_sample < end:
            page = next(pages, None)
            if page is None or len(kept) == _MAX_PAGES:
                return
            kept.append(page)
        starts = [i for i, page in enumerate(kept) if page.is_start and page.first_sample <= begin]
        if not starts:
            return
        for _ in range(starts[-1]):
            kept.popleft()
        yield PageRange(
            header_bytes=header_bytes,
            start=kept[0].start,
            stop=kept[-1].stop,
            skip=begin - kept[0].first_sample,
            count=end - begin,
        )


def _read_headers(window: FileWindow) -> tuple[Vorbis, int, int] | None:
    """Return codec, serial number and length of the headers; None where anything is unusual."""
    first = read_page(window, 0)
    codec = None if first is None else find_codec(first.body)
    if first is None or not isinstance(codec, Vorbis):
        return None
    splitter, packets, offset = PacketSplitter(), 1, first.size
    while packets < codec.header_packets:
        page = read_page(window, offset)
        if page is None or page.serial != first.serial or page.flags & (FIRST | LAST):
            return None
        for packet in _split(splitter, page):
            packets += 1
            codec.add_header(packet)
        offset += page.size
    return (codec, first.serial, offset) if packets == codec.header_packets else None


def _sound_pages(
    window: FileWindow, codec: Vorbis, serial: int, offset: int
) -> Iterator[_SoundPage]:
    """Yield the pages after the headers, up to the first irregularity."""
    splitter, before, position = PacketSplitter(), list[bytes](), 0
    sequence: int | None = None
    while (page := read_page(window, offset)) is not None:
        packets = [*_split(splitter, page)]
        is_next = sequence is None or page.sequence == sequence
        if page.serial != serial or page.flags & FIRST or not is_next or not _are_sound(packets):
            return
        try:
            position += codec.samples([*before, *packets])
            first_sample = position - codec.samples(packets)
        except ValueError:
            return
        is_last = bool(page.flags & LAST)
        # The last position may be lower: the rest only fills up the last block.
        if page.granule > position or (page.granule < position and not is_last):
            return
        yield _SoundPage(
            start=offset,
            stop=offset + page.size,
            first_sample=first_sample,
            past_sample=page.granule,
            is_start=not page.flags & (CONTINUED | LAST),
        )
        if is_last:
            return
        before, sequence, offset = packets[-1:], page.sequence + 1, offset + page.size


def _split(splitter: PacketSplitter, page: Page) -> Iterator[bytes]:
    return splitter.split(page.lacing, page.body, is_continued=bool(page.flags & CONTINUED))


def _are_sound(packets: list[bytes]) -> bool:
    return bool(packets) and all(packet and not packet[0] & 1 for packet in packets)
