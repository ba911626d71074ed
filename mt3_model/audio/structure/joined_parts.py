"""Find the recordings joined in one file, for containers that state where they end.

In ``cat a.wav b.wav`` the first container ends where the second begins; decoders read the first
one and stop. Each part is later read as a separate file (`file_views.FileSlice`), because offsets
inside a container count from its beginning. Two formats are not handled here: joining is part of
Ogg (chained streams), which FFmpeg reads, and mp3 has no container (`mpeg_parts.py`).
"""

import dataclasses
from collections.abc import Callable, Iterator, Mapping

from mt3_model.audio.file_views import FileWindow
from mt3_model.audio.structure import chunks, containers
from mt3_model.audio.structure.containers import Container
from mt3_model.audio.structure.declared_sizes import au_end, is_placeholder, matroska_end
from mt3_model.audio.structure.tags import after_id3

MAX_PARTS = 1_000
_MAX_FLV_TAGS = 2_000_000  # some hours of a film
_MAX_ID3_BYTES = 16 << 20
_STREAMINFO = (b"\x00\x00\x00\x22", b"\x80\x00\x00\x22")
"""The head of a flac's first block, which always has 34 bytes; the first bit says that no other
block follows. Source: RFC 9639, 8."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class PartRange:
    """The bytes ``[start, stop)`` of one part; ``stop`` is None for the end of the file."""

    start: int
    stop: int | None


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class JoinedParts:
    """The parts of a file, in order."""

    ranges: tuple[PartRange, ...]
    has_unread_rest: bool
    """The last part is followed by another kind of container, or by too many parts."""


def find_parts(window: FileWindow, container: Container) -> JoinedParts:
    """Find where each recording of a file begins and ends."""
    starts, stops = [0], list[int | None]()
    begin, next_starts = after_id3(window), _NEXT_STARTS.get(container.name)
    has_unread_rest = False
    while next_starts is not None:
        offsets = (begin + offset for offset in next_starts(window.after(begin)))
        found = next(
            (at for at in offsets if at > begin and containers.container_at(window, at)), None
        )
        if found is None:
            break
        if containers.container_at(window, found) != container or len(starts) == MAX_PARTS:
            stops.append(found)
            has_unread_rest = True
            break
        starts.append(found)
        stops.append(_before_id3(window, begin, found))
        begin = found
    if not has_unread_rest:
        stops.append(None)
    return JoinedParts(
        ranges=tuple(
            PartRange(start=start, stop=stop) for start, stop in zip(starts, stops, strict=True)
        ),
        has_unread_rest=has_unread_rest,
    )


def _after_riff(window: FileWindow) -> Iterator[int]:
    """Source: Microsoft RIFF; EBU Tech 3306 (RF64: the size is in the chunk ds64)."""
    order = "big" if window.at(0, 4) == b"RIFX" else "little"
    size = int.from_bytes(window.at(4, 4), order)
    if window.at(0, 4) in {b"RF64", b"BW64"}:
        yield from _with_padding(8 + int.from_bytes(window.at(20, 8), "little"), 2)
    elif not is_placeholder(size):
        yield from _with_padding(8 + size, 2)


def _after_aiff(window: FileWindow) -> Iterator[int]:
    """Source: Apple AIFF 1.3."""
    size = int.from_bytes(window.at(4, 4), "big")
    if not is_placeholder(size):
        yield from _with_padding(8 + size, 2)


def _after_w64(window: FileWindow) -> Iterator[int]:
    """Source: Sony Wave64: the size of the whole after the first GUID."""
    yield from _with_padding(int.from_bytes(window.at(16, 8), "little"), 8)


def _after_au(window: FileWindow) -> Iterator[int]:
    yield au_end(window)


def _after_caf(window: FileWindow) -> Iterator[int]:
    """A CAF states no size: the next one begins where a chunk would."""
    following = chunks.find_chunk(window, chunks.CAF, b"caff")
    if following is not None:
        yield following.start


def _after_flac(window: FileWindow) -> Iterator[int]:
    """The frames of a flac have no length, so the next mark is searched for."""
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
    """Source: Adobe FLV 10.1, E.3: tags follow each other, each followed by its size."""
    offset = int.from_bytes(window.at(5, 4), "big") + 4
    for _ in range(_MAX_FLV_TAGS):
        head = window.at(offset, 11)
        if head.startswith(b"FLV\x01"):
            yield offset
        if len(head) < 11 or head[0] & 0x1F not in {8, 9, 18}:  # noqa: PLR2004  # sound, picture, data
            return
        offset += 11 + int.from_bytes(head[1:4], "big") + 4


def _after_mp4(window: FileWindow) -> Iterator[int]:
    """Source: ISO/IEC 14496-12, 4.3: ``ftyp`` comes once, first."""
    has_index = False
    for box in chunks.walk_boxes(window):
        if box.start and box.name == b"ftyp" and has_index:
            yield box.start
            return
        has_index |= box.name == b"moov"


def _after_matroska(window: FileWindow) -> Iterator[int]:
    yield matroska_end(window)


def _before_id3(window: FileWindow, begin: int, end: int) -> int:
    """Return where an ID3 tag begins that reaches exactly to ``end``; without one ``end``."""
    at = window.find(b"ID3", max(begin, end - _MAX_ID3_BYTES))
    while 0 <= at < end:
        if after_id3(window, at) == end:
            return at
        at = window.find(b"ID3", at + 1)
    return end


def _with_padding(end: int, alignment: int) -> tuple[int, ...]:
    """Return the end of a chunk, and the padded end, which some writers omit."""
    return tuple(sorted({end, chunks.round_up(end, alignment)}))


_NEXT_STARTS: Mapping[str, Callable[[FileWindow], Iterator[int]]] = {
    "wav": _after_riff,
    "w64": _after_w64,
    "aiff": _after_aiff,
    "au": _after_au,
    "caf": _after_caf,
    "flac": _after_flac,
    "flv": _after_flv,
    "tta": _after_tta,
    "mp4": _after_mp4,
    "matroska": _after_matroska,
}
"""Offsets at which another recording may begin after each container."""
