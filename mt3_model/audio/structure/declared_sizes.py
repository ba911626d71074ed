"""A container's own sizes -> whether the file ends before its container does.

A wav cut in the middle opens as a shorter wav: libsndfile and FFmpeg both believe the file's end
over the header. The header still says how many bytes were meant, so comparing the two finds the
cut exactly. Only the outermost structure is read. A program that writes to a pipe cannot know the
size and leaves a placeholder, which means "unknown", never "cut".
"""

from collections.abc import Callable, Mapping
from typing import Literal

from mt3_model.audio.file_views import FileWindow
from mt3_model.audio.structure import containers

# Placeholders of 32 bits: 0; around 2 GiB (SoX writes 0x7ffff000 into wav and 0x7f000000 into
# aiff, others 0x7fffffff and 0x80000000); around 4 GiB (FFmpeg: 0xffffffff). Writers subtract the
# rest of a block or add the headers, so a page on both sides counts as well.
_PLACEHOLDERS_32 = (0x7F00_0000, 0x7FFF_F000, 0x8000_0000, 0xFFFF_F000, 0xFFFF_FFFF)
_PLACEHOLDER_SLACK = 4_096
_LEAST_PLACEHOLDER_64 = 1 << 62  # FFmpeg: 2^63 - 1 or all ones
_CAF_OPEN = b"\xff" * 8
_MAX_CHUNKS = 10_000
_W64_DATA = b"data\xf3\xac\xd3\x11\x8c\xd1\x00\xc0\x4f\x8e\xdb\x8a"
_EBML_SEGMENT = 0x18538067  # RFC 9559, 5.1.1: the one element after the EBML header


def ends_early(window: FileWindow, container: containers.Container) -> bool:
    """Whether the container announces more bytes than the file has."""
    end_of = _ENDS.get(container.name)
    return end_of is not None and end_of(window) > window.size


def is_placeholder(size: int) -> bool:
    """Whether a size of 32 bits stands for one that the writer did not know."""
    return size == 0 or any(
        abs(size - placeholder) <= _PLACEHOLDER_SLACK for placeholder in _PLACEHOLDERS_32
    )


def _wav_end(window: FileWindow) -> int:
    """Source: Microsoft Multimedia Programming Interface 1.0 (RIFF); EBU Tech 3306 (RF64)."""
    order = "big" if window.at(0, 4) == b"RIFX" else "little"
    offset, long_size = 12, None
    for _ in range(_MAX_CHUNKS):
        head = window.at(offset, 8)
        if len(head) < 8:  # noqa: PLR2004  # name and size
            return 0
        size = int.from_bytes(head[4:], order)
        if head[:4] == b"ds64":
            long_size = int.from_bytes(window.at(offset + 16, 8), "little")
        if head[:4] == b"data":
            if size == 0xFFFFFFFF and long_size:  # noqa: PLR2004  # RF64: the size is in ds64
                return 0 if long_size >= _LEAST_PLACEHOLDER_64 else offset + 8 + long_size
            return 0 if is_placeholder(size) else offset + 8 + size
        offset += 8 + size + size % 2
    return 0


def fill_in_size(window: FileWindow, size: int) -> dict[int, bytes]:
    """The size of the sound that its writer left open, by its offset, where libsndfile needs it.

    libsndfile takes the 0 that FFmpeg leaves in an RF64 for "no sound", and refuses the -1 that
    the CAF format has for "to the end".

    Args:
        window: the container, from its first byte.
        size: its bytes.
    """
    mark = window.at(0, 4)
    if mark in {b"RF64", b"BW64"} and window.at(12, 4) == b"ds64":
        declared = int.from_bytes(window.at(28, 8), "little")
        data = _find_chunk(window, 12, b"data", order="little", width=4)
        if data is not None and not 0 < declared < _LEAST_PLACEHOLDER_64:
            return {28: max(0, size - data - 8).to_bytes(8, "little")}
    if mark == b"caff":
        data = _find_chunk(window, 8, b"data", order="big", width=8)
        if data is not None and window.at(data + 4, 8) == _CAF_OPEN:
            return {data + 4: max(0, size - data - 12).to_bytes(8, "big")}
    return {}


def _find_chunk(
    window: FileWindow, offset: int, name: bytes, *, order: Literal["little", "big"], width: int
) -> int | None:
    """Offset of the first chunk of that name, where chunks have sizes of ``width`` bytes."""
    for _ in range(_MAX_CHUNKS):
        head = window.at(offset, 4 + width)
        if len(head) < 4 + width:
            return None
        if head[:4] == name:
            return offset
        length = int.from_bytes(head[4:], order)
        offset += 4 + width + length + (length % 2 if width == 4 else 0)  # noqa: PLR2004  # RIFF
    return None


def _avi_end(window: FileWindow) -> int:
    """Source: Microsoft RIFF: the outermost size; OpenDML's further RIFFs come after it."""
    size = int.from_bytes(window.at(4, 4), "little")
    return 0 if is_placeholder(size) else 8 + size


def _w64_end(window: FileWindow) -> int:
    """Source: Sony Wave64: GUID, then 64-bit size with its header, padded to eight bytes."""
    offset = 40
    for _ in range(_MAX_CHUNKS):
        head = window.at(offset, 24)
        size = int.from_bytes(head[16:], "little")
        if len(head) < 24 or size < 24:  # noqa: PLR2004  # GUID and size
            return 0
        if head[:16] == _W64_DATA:
            return 0 if size >= _LEAST_PLACEHOLDER_64 else offset + size
        offset += (size + 7) // 8 * 8
    return 0


def _aiff_end(window: FileWindow) -> int:
    """Source: Apple AIFF 1.3, chunk SSND."""
    offset = 12
    for _ in range(_MAX_CHUNKS):
        head = window.at(offset, 8)
        size = int.from_bytes(head[4:], "big")
        if len(head) < 8:  # noqa: PLR2004  # name and size
            return 0
        if head[:4] == b"SSND":
            return 0 if is_placeholder(size) else offset + 8 + size
        offset += 8 + size + size % 2
    return 0


def au_end(window: FileWindow) -> int:
    """Source: Sun au(4): mark, data offset, data size."""
    head = window.at(0, 12)
    order = "big" if head[:4] == b".snd" else "little"
    size = int.from_bytes(head[8:], order)
    return 0 if is_placeholder(size) else int.from_bytes(head[4:8], order) + size


def _mp4_end(window: FileWindow) -> int:
    """Source: ISO/IEC 14496-12, 4.2: boxes follow each other; size 1 means 64 bits follow."""
    offset = 0
    for _ in range(_MAX_CHUNKS):
        head = window.at(offset, 16)
        size = int.from_bytes(head[:4], "big")
        if size == 1:
            size = int.from_bytes(head[8:16], "big")
        if size < 8:  # noqa: PLR2004  # 0: to the file's end; less than its own header: no box
            return 0
        offset += size
        if offset >= window.size:
            return offset
    return 0


def matroska_end(window: FileWindow) -> int:
    """Source: RFC 8794, 4 and 5: element id and size as integers of variable width."""
    _, offset = _ebml_integer(window, 0, keeps_marker=True)
    size, offset = _ebml_integer(window, offset, keeps_marker=False)
    if size is None:
        return 0
    name, offset = _ebml_integer(window, offset + size, keeps_marker=True)
    size, offset = _ebml_integer(window, offset, keeps_marker=False)
    return 0 if name != _EBML_SEGMENT or size is None else offset + size


def _ebml_integer(window: FileWindow, offset: int, *, keeps_marker: bool) -> tuple[int | None, int]:
    """An integer and the offset after it; None for the reserved "unknown" (all ones)."""
    first = window.at(offset, 1)
    width = 9 - first[0].bit_length() if first and first[0] else 1
    value = int.from_bytes(window.at(offset, width), "big")
    if keeps_marker:
        return value, offset + width
    mask = (1 << 7 * width) - 1
    return (None if value & mask == mask else value & mask), offset + width


_ENDS: Mapping[str, Callable[[FileWindow], int]] = {
    "wav": _wav_end,
    "w64": _w64_end,
    "aiff": _aiff_end,
    "au": au_end,
    "avi": _avi_end,
    "mp4": _mp4_end,
    "matroska": matroska_end,
}
"""Offset at which each container says that it ends; 0 where it does not say."""
