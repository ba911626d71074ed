"""The frames of an mp3 -> how long it is, whether it is whole, where it is damaged.

mpg123 (inside libsndfile) skips what it cannot read without a word, so a cut or damaged mp3 looks
like a good one. Frame headers give each frame's length, so walking from header to header finds
every break in the chain; a payload may still be wrong, which an mp3 cannot tell.

Source: ISO/IEC 11172-3, 2.4.2.3 and ISO/IEC 13818-3, 2.4.2.3 (tables); the Xing/Info header is
LAME's (LAME tag revision 0).
"""

import dataclasses
import struct

from mt3_model.audio.windows import FileWindow, after_id3

# kbit/s by bitrate index, 1..14.
_V1_L1 = (32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448)
_V1_L2 = (32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384)
_V1_L3 = (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320)
_V2_L1 = (32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256)
_V2_L23 = (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160)
_RATES = {3: (44_100, 48_000, 32_000), 2: (22_050, 24_000, 16_000), 0: (11_025, 12_000, 8_000)}
_MPEG1, _RESERVED_VERSION = 3, 1
_LAYER1, _LAYER3, _RESERVED_LAYER = 3, 1, 0
_FREE_FORMAT, _BAD_BITRATE, _BAD_RATE = 0, 15, 3
_HEADER = 4
_CHAIN = 3  # frames that must follow each other where nothing else says that it is an mp3


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class FrameHeader:
    """One frame's header."""

    kind: int
    """Version, layer and rate bits: the same for all frames of a stream."""
    sample_rate: int
    samples: int
    """Per channel, in this frame."""
    size: int
    """Bytes, header included."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class FrameScan:
    """What walking all frames found."""

    seconds: float
    """Of whole frames, encoder delay included."""
    has_count: bool
    """A Xing or Info header counts the frames, so that libsndfile knows the exact length."""
    is_truncated: bool
    """The last frame is cut, or the Xing header counts more frames than there are."""
    breaks: int
    """Places where no frame follows a frame."""
    first_break: float | None
    """Seconds of whole frames before the first break."""


def scan_frames(window: FileWindow) -> FrameScan | None:
    """Walks an mp3 from its first frame to its end.

    Returns:
        What was found; None where no chain of frames is (free-format streams among them).
    """
    offset = find_frame_chain(window, after_id3(window), window.size)
    if offset is None:
        return None
    first = parse_header(window.at(offset, _HEADER))
    assert first is not None
    promised = _promised_frames(window.at(offset, min(first.size, 192)))
    if promised is not None:
        offset += first.size  # the Xing frame holds no sound
    frames, breaks, first_break, cut = 0, 0, None, False
    while True:
        header = parse_header(window.at(offset, _HEADER))
        if header is not None and header.kind == first.kind:
            if offset + header.size > window.size:
                cut = True
                break
            frames += 1
            offset += header.size
            continue
        if _is_trailer(window, offset):
            break
        resumed = find_frame_chain(window, offset + 1, window.size, kind=first.kind, chain=2)
        if resumed is None:
            break
        breaks += 1
        first_break = frames if first_break is None else first_break
        offset = resumed
    frame_seconds = first.samples / first.sample_rate
    lost = promised is not None and frames < promised and not breaks
    return FrameScan(
        seconds=frames * frame_seconds,
        has_count=bool(promised),
        is_truncated=cut or lost,
        breaks=breaks,
        first_break=None if first_break is None else first_break * frame_seconds,
    )


def find_frame_chain(
    window: FileWindow, start: int, stop: int, *, kind: int | None = None, chain: int = _CHAIN
) -> int | None:
    """Offset of the first frame in ``[start, stop)`` that others follow.

    Fewer than ``chain`` frames suffice where the file ends exactly after a frame.
    """
    offset = start
    while offset < stop:
        piece = window.at(offset, 4_096)
        sync = piece.find(b"\xff")
        if sync < 0:
            if len(piece) == 0:
                return None
            offset += len(piece)
            continue
        offset += sync
        if offset < stop and _frames_follow(window, offset, kind=kind, chain=chain):
            return offset
        offset += 1
    return None


def parse_header(head: bytes) -> FrameHeader | None:
    """Reads four bytes as a frame header; None where they are none, or of free format."""
    if len(head) < _HEADER or head[0] != 0xFF or head[1] & 0xE0 != 0xE0:  # noqa: PLR2004  # sync
        return None
    version, layer = head[1] >> 3 & 3, head[1] >> 1 & 3
    bitrate, rate, padding = head[2] >> 4, head[2] >> 2 & 3, head[2] >> 1 & 1
    if version == _RESERVED_VERSION or layer == _RESERVED_LAYER or rate == _BAD_RATE:
        return None
    if bitrate in {_FREE_FORMAT, _BAD_BITRATE}:
        return None
    sample_rate = _RATES[version][rate]
    bits = _bitrates(version, layer)[bitrate - 1] * 1_000
    if layer == _LAYER1:
        samples, size = 384, (12 * bits // sample_rate + padding) * 4
    else:
        samples = 576 if layer == _LAYER3 and version != _MPEG1 else 1_152
        size = samples // 8 * bits // sample_rate + padding
    kind = version << 4 | layer << 2 | rate
    return FrameHeader(kind=kind, sample_rate=sample_rate, samples=samples, size=size)


def _bitrates(version: int, layer: int) -> tuple[int, ...]:
    if version == _MPEG1:
        return {_LAYER1: _V1_L1, _LAYER3: _V1_L3}.get(layer, _V1_L2)
    return _V2_L1 if layer == _LAYER1 else _V2_L23


def _frames_follow(window: FileWindow, offset: int, *, kind: int | None, chain: int) -> bool:
    for _ in range(chain):
        header = parse_header(window.at(offset, _HEADER))
        if header is None or (kind is not None and header.kind != kind):
            return False
        kind = header.kind
        offset += header.size
        if offset == window.size or _is_trailer(window, offset):
            return True
    return True


def _is_trailer(window: FileWindow, offset: int) -> bool:
    """Whether a tag or nothing is there: the end of the sound, not damage."""
    rest = window.at(offset, 16)
    marks = (b"TAG", b"APETAGEX", b"LYRICSBEGIN", b"ID3", b"3DI")
    return len(rest) < _HEADER or rest.startswith(marks)


def _promised_frames(frame: bytes) -> int | None:
    """Frames of sound that a Xing or Info header in ``frame`` counts; None without one."""
    for mark in (b"Xing", b"Info"):
        at = frame.find(mark)
        if at >= 0 and len(frame) >= at + 12:
            flags, count = struct.unpack_from(">II", frame, at + 4)
            return count if flags & 1 else 0
    return None
