"""A file -> the recordings joined in it, for containers that say where they end.

``cat a.wav b.wav`` is a file whose first container ends where the second begins; decoders read
the first one and stop. Each part is later read as a file of its own (`windows.FileSlice`), since
offsets inside a container count from its beginning. Ogg is not here: joining is part of that
format (chained streams), and FFmpeg reads it. Nor is mp3, which has no container
(`mpeg_parts.py`).
"""

from collections.abc import Callable, Iterator, Mapping

from mt3_model.audio.file_views import FileWindow, after_id3
from mt3_model.audio.structure import containers
from mt3_model.audio.structure.containers import Container
from mt3_model.audio.structure.declared_sizes import au_end, is_placeholder, matroska_end

MAX_PARTS = 1_000
_MAX_CHUNKS = 100_000
_STREAMINFO = (b"\x00\x00\x00\x22", b"\x80\x00\x00\x22")
"""The head of a flac's first block, which always has 34 bytes; the first bit says that no other
block follows. Source: RFC 9639, 8."""


_MAX_FLV_TAGS = 2_000_000  # some hours of a film
_MAX_TAG_BYTES = 16 << 20


def find_ranges(
    window: FileWindow, container: Container
) -> tuple[tuple[tuple[int, int | None], ...], bool]:
    """Find where each recording begins and ends.

    Returns:
        For each the offset of its first byte and the one after its last, None for the file's end;
        and whether something else that holds sound follows the last.
    """
    starts, stops = [0], list[int | None]()
    begin = after_id3(window)
    next_start = _NEXT_STARTS.get(container.name)
    while next_start is not None:
        ends = (begin + offset for offset in next_start(window.after(begin)))
        found = next(
            (at for at in ends if at > begin and containers.container_at(window, at)), None
        )
        if found is None:
            break
        if containers.container_at(window, found) != container or len(starts) == MAX_PARTS:
            return tuple(zip(starts, (*stops, found), strict=True)), True
        starts.append(found)
        stops.append(_before_id3(window, begin, found))
        begin = found
    return tuple(zip(starts, (*stops, None), strict=True)), False


def _after_riff(window: FileWindow) -> Iterator[int]:
    """Source: Microsoft RIFF; EBU Tech 3306 (RF64: the size is in the chunk ds64)."""
    order = "big" if window.at(0, 4) == b"RIFX" else "little"
    size = int.from_bytes(window.at(4, 4), order)
    if window.at(0, 4) in {b"RF64", b"BW64"}:
        yield from _padded(8 + int.from_bytes(window.at(20, 8), "little"), 2)
    elif not is_placeholder(size):
        yield from _padded(8 + size, 2)


def _after_form(window: FileWindow) -> Iterator[int]:
    """Source: Apple AIFF 1.3."""
    size = int.from_bytes(window.at(4, 4), "big")
    if not is_placeholder(size):
        yield from _padded(8 + size, 2)


def _after_w64(window: FileWindow) -> Iterator[int]:
    """Source: Sony Wave64: the size of the whole behind the first GUID."""
    yield from _padded(int.from_bytes(window.at(16, 8), "little"), 8)


def _after_au(window: FileWindow) -> Iterator[int]:
    yield au_end(window)


def _after_caf(window: FileWindow) -> Iterator[int]:
    """Source: Apple Core Audio Format 1.0: chunks follow each other; -1 means "to the end"."""
    offset = 8
    for _ in range(_MAX_CHUNKS):
        head = window.at(offset, 12)
        if len(head) < 12:  # noqa: PLR2004  # type and size
            return
        if head.startswith(b"caff"):
            yield offset
            return
        size = int.from_bytes(head[4:], "big", signed=True)
        if size < 0:
            return
        offset += 12 + size


def _after_flac(window: FileWindow) -> Iterator[int]:
    """The frames of a flac have no length, so the next one's mark is searched for."""
    at = window.find(b"fLaC", 4)
    while at > 0:
        if window.at(at + 4, 4) in _STREAMINFO:
            yield at
        at = window.find(b"fLaC", at + 4)


def _after_tta(window: FileWindow) -> Iterator[int]:
    """Source: TTA1 format description: the mark, then format 1 (PCM) or 2 (encrypted)."""
    at = window.find(b"TTA1\x01\x00", 4)
    if at > 0:
        yield at


def _after_flv(window: FileWindow) -> Iterator[int]:
    """Source: Adobe FLV 10.1, E.3: tags follow each other, each with its size behind it."""
    offset = int.from_bytes(window.at(5, 4), "big") + 4
    for _ in range(_MAX_FLV_TAGS):
        head = window.at(offset, 11)
        if head.startswith(b"FLV\x01"):
            yield offset
        if len(head) < 11 or head[0] & 0x1F not in {8, 9, 18}:  # noqa: PLR2004  # sound, picture, data
            return
        offset += 11 + int.from_bytes(head[1:4], "big") + 4


def _after_mp4(window: FileWindow) -> Iterator[int]:
    """Source: ISO/IEC 14496-12, 4.2 and 4.3: ``ftyp`` comes once, first."""
    offset, has_index = 0, False
    for _ in range(_MAX_CHUNKS):
        head = window.at(offset, 16)
        size = int.from_bytes(head[:4], "big")
        if size == 1:
            size = int.from_bytes(head[8:16], "big")
        if size < 8:  # noqa: PLR2004  # to the file's end, or no box
            return
        if offset and head[4:8] == b"ftyp" and has_index:
            yield offset
            return
        has_index |= head[4:8] == b"moov"
        offset += size


def _after_matroska(window: FileWindow) -> Iterator[int]:
    yield matroska_end(window)


def _before_id3(window: FileWindow, begin: int, end: int) -> int:
    """Where an ID3 tag begins that reaches exactly to ``end``; ``end`` itself without one."""
    at = window.find(b"ID3", max(begin, end - _MAX_TAG_BYTES))
    while 0 <= at < end:
        if after_id3(window, at) == end:
            return at
        at = window.find(b"ID3", at + 1)
    return end


def _padded(end: int, width: int) -> tuple[int, ...]:
    """The end of a chunk and the same rounded up, which some writers leave out."""
    return tuple(sorted({end, (end + width - 1) // width * width}))


_NEXT_STARTS: Mapping[str, Callable[[FileWindow], Iterator[int]]] = {
    "wav": _after_riff,
    "w64": _after_w64,
    "aiff": _after_form,
    "au": _after_au,
    "caf": _after_caf,
    "flac": _after_flac,
    "flv": _after_flv,
    "tta": _after_tta,
    "mp4": _after_mp4,
    "matroska": _after_matroska,
}
"""Offsets at which another recording may begin behind each container."""
