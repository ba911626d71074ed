"""Compare the sizes that a container declares with the bytes of the file.

A wav cut in the middle opens as a shorter wav: libsndfile and FFmpeg both trust the end of the
file more than the header. The header still states how many bytes there should be, so comparing the
two finds the cut exactly. Only the outermost structure is read. A program that writes to a pipe
cannot know the size and writes a placeholder, which means "unknown", never "cut".
"""

from collections.abc import Callable, Mapping

from mt3_model.audio.file_views import FileWindow
from mt3_model.audio.structure import chunks, containers

# Placeholders of 32 bits: 0; around 2 GiB (SoX writes 0x7ffff000 into wav and 0x7f000000 into
# aiff, others 0x7fffffff and 0x80000000); around 4 GiB (FFmpeg: 0xffffffff). Writers subtract the
# rest of a block or add the headers, so a page on both sides counts as well.
_PLACEHOLDERS_32 = (0x7F00_0000, 0x7FFF_F000, 0x8000_0000, 0xFFFF_F000, 0xFFFF_FFFF)
_PLACEHOLDER_SLACK = 4_096
_LEAST_PLACEHOLDER_64 = 1 << 62  # FFmpeg: 2^63 - 1 or all ones
_ALL_ONES_32, _ALL_ONES_64 = (1 << 32) - 1, (1 << 64) - 1
_RF64_MARKS = frozenset({b"RF64", b"BW64"})
_RF64_DATA_SIZE = 28  # offset of the 64-bit size of the samples in the chunk ds64, always first
_W64_DATA = b"data\xf3\xac\xd3\x11\x8c\xd1\x00\xc0\x4f\x8e\xdb\x8a"
_EBML_SEGMENT = 0x18538067  # RFC 9559, 5.1.1: the one element after the EBML header


def ends_early(window: FileWindow, container: containers.Container) -> bool:
    """Whether the container declares more bytes than the file has."""
    end_of = _ENDS.get(container.name)
    return end_of is not None and end_of(window) > window.size


def is_placeholder(size: int) -> bool:
    """Whether a size of 32 bits means that the writer did not know the size."""
    return size == 0 or any(
        abs(size - placeholder) <= _PLACEHOLDER_SLACK for placeholder in _PLACEHOLDERS_32
    )


def placeholder_patches(window: FileWindow, size: int) -> dict[int, bytes]:
    """Return the true size of the samples where libsndfile misreads the placeholder.

    libsndfile interprets the 0 that FFmpeg leaves in an RF64 as "no sound", and refuses the -1 that
    the CAF format defines as "to the end".

    Args:
        window: the container, from its first byte.
        size: bytes of the container.

    Returns:
        The bytes to write over the placeholder, by their offset; empty where none are needed.
    """
    mark = window.at(0, 4)
    if mark in _RF64_MARKS and window.at(12, 4) == b"ds64":
        declared = int.from_bytes(window.at(_RF64_DATA_SIZE, 8), "little")
        data = chunks.find_chunk(window, chunks.RIFF, b"data")
        if data is not None and not 0 < declared < _LEAST_PLACEHOLDER_64:
            return {_RF64_DATA_SIZE: max(0, size - data.content).to_bytes(8, "little")}
    if mark == b"caff":
        data = chunks.find_chunk(window, chunks.CAF, b"data")
        if data is not None and data.size == _ALL_ONES_64:
            return {data.start + 4: max(0, size - data.content).to_bytes(8, "big")}
    return {}


def au_end(window: FileWindow) -> int:
    """Return the declared end of an au. Source: Sun au(4): mark, data offset, data size."""
    head = window.at(0, 12)
    order = "big" if head[:4] == b".snd" else "little"
    size = int.from_bytes(head[8:], order)
    return 0 if is_placeholder(size) else int.from_bytes(head[4:8], order) + size


def matroska_end(window: FileWindow) -> int:
    """Return the declared end of a Matroska or WebM file.

    Source: RFC 8794, 4 and 5: element id and size as integers of variable width.
    """
    _, offset = _ebml_integer(window, 0, keeps_marker=True)
    size, offset = _ebml_integer(window, offset, keeps_marker=False)
    if size is None:
        return 0
    name, offset = _ebml_integer(window, offset + size, keeps_marker=True)
    size, offset = _ebml_integer(window, offset, keeps_marker=False)
    return 0 if name != _EBML_SEGMENT or size is None else offset + size


def _wav_end(window: FileWindow) -> int:
    """Source: EBU Tech 3306 for RF64, whose sizes are in the chunk ds64."""
    layout = chunks.RIFX if window.at(0, 4) == b"RIFX" else chunks.RIFF
    long_size = 0
    for chunk in chunks.walk_chunks(window, layout):
        if chunk.name == b"ds64":
            long_size = int.from_bytes(window.at(chunk.content + 8, 8), "little")
        if chunk.name == b"data":
            if chunk.size == _ALL_ONES_32 and long_size:
                return 0 if long_size >= _LEAST_PLACEHOLDER_64 else chunk.content + long_size
            return 0 if is_placeholder(chunk.size) else chunk.end
    return 0


def _avi_end(window: FileWindow) -> int:
    """Source: Microsoft RIFF: the outermost size; OpenDML's further RIFFs come after it."""
    size = int.from_bytes(window.at(4, 4), "little")
    return 0 if is_placeholder(size) else 8 + size


def _w64_end(window: FileWindow) -> int:
    data = chunks.find_chunk(window, chunks.WAVE64, _W64_DATA)
    return 0 if data is None or data.size >= _LEAST_PLACEHOLDER_64 else data.end


def _aiff_end(window: FileWindow) -> int:
    sound = chunks.find_chunk(window, chunks.AIFF, b"SSND")
    return 0 if sound is None or is_placeholder(sound.size) else sound.end


def _mp4_end(window: FileWindow) -> int:
    return max((box.end for box in chunks.walk_boxes(window)), default=0)


def _ebml_integer(window: FileWindow, offset: int, *, keeps_marker: bool) -> tuple[int | None, int]:
    """Return an integer and the offset after it; None for the reserved "unknown" (all ones)."""
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
"""The declared end of each container, as an offset; 0 where it is not known."""
