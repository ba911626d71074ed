"""A file's structure -> what it says of times, where FFmpeg does not pass it on."""

import dataclasses
from collections.abc import Iterator

from mt3_model.audio.file_views import FileWindow
from mt3_model.audio.structure import containers
from mt3_model.audio.structure.containers import Container

_MAX_CHUNKS = 10_000
_CAF_HEADER, _CAF_CHUNK_HEADER = 8, 12
_BOX_HEADER = 8
_MAX_PRIMING = 1 << 14


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class ClockHints:
    """What a file's structure says of times."""

    start: float | None = None
    """Seconds of the recording's clock at the first sample, where the structure tells it better
    than FFmpeg's times; negative where sound before 0 is to be dropped."""
    seconds: float | None = None
    """Length of the recording from its clock's 0, where ``start`` is given."""
    is_fragmented: bool = False
    """An mp4 written in fragments, which may begin at any time."""
    delay_samples: int | None = None
    """Samples that the decoder gives before the first one that was recorded."""


NO_HINTS = ClockHints()


def read_clock_hints(window: FileWindow, container: Container) -> ClockHints:
    """Read what an mp4 or CAF says of times."""
    if container is containers.MP4:
        return ClockHints(is_fragmented=_has_fragments(window))
    if container is containers.CAF:
        return ClockHints(delay_samples=_caf_priming(window))
    return NO_HINTS


def _has_fragments(window: FileWindow) -> bool:
    """Whether the index announces fragments. Source: ISO/IEC 14496-12, 8.8.1 (box mvex)."""
    for name, offset, end in _boxes(window, 0, window.size):
        if name == b"moov":
            return any(inner == b"mvex" for inner, _, _ in _boxes(window, offset, end))
    return False


def _boxes(window: FileWindow, offset: int, end: int) -> Iterator[tuple[bytes, int, int]]:
    """Yield name, first byte of the content and end of each box in ``[offset, end)``."""
    for _ in range(_MAX_CHUNKS):
        head = window.at(offset, 2 * _BOX_HEADER)
        if len(head) < _BOX_HEADER or offset >= end:
            return
        size, header = int.from_bytes(head[:4], "big"), _BOX_HEADER
        if size == 1:
            size, header = int.from_bytes(head[8:], "big"), 2 * _BOX_HEADER
        if size == 0:
            size = end - offset
        if size < header:
            return
        yield head[4:8], offset + header, offset + size
        offset += size


def _caf_priming(window: FileWindow) -> int | None:
    """Priming frames of a CAF's packet table. Source: Apple Core Audio Format 1.0, chunk pakt."""
    offset = _CAF_HEADER
    for _ in range(_MAX_CHUNKS):
        head = window.at(offset, _CAF_CHUNK_HEADER + 24)
        size = int.from_bytes(head[4:_CAF_CHUNK_HEADER], "big", signed=True)
        if len(head) < _CAF_CHUNK_HEADER or size < 0:
            return None
        if head[:4] == b"pakt":
            priming = int.from_bytes(head[_CAF_CHUNK_HEADER + 16 : _CAF_CHUNK_HEADER + 20], "big")
            # Writers that do not know it put 0; no codec has as much as the bound.
            return priming if 0 < priming <= _MAX_PRIMING else None
        offset += _CAF_CHUNK_HEADER + size
    return None
