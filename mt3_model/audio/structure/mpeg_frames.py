"""Parse one frame of MPEG audio: its header, the encoder's tag in it; find the first frame.

`mpeg_parts.py` walks all frames of a file with these functions.

Source: ISO/IEC 11172-3, 2.4.2.3 and ISO/IEC 13818-3, 2.4.2.3 (tables); the Xing/Info header is
LAME's (LAME tag revision 0); VBRI is Fraunhofer's.
"""

import dataclasses
import functools
import re
import struct

from mt3_model.audio.file_views import FileWindow
from mt3_model.audio.structure.codec_delays import LAYER3_DELAY, LAYER12_DELAY
from mt3_model.audio.structure.tags import is_tag_or_end

HEADER_BYTES = 4

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
_MONO = 3
_CHAIN_FRAMES = 3  # frames that must follow each other where nothing else marks an mp3
# 11 bits of sync with a version and a layer that exist, then a bitrate that does.
_SYNC = re.compile(rb"\xff[\xe2-\xe7\xf2-\xf7\xfa-\xff][\x10-\xef]", re.DOTALL)
_TAG_BYTES = 192  # side information, then a Xing header with everything in it
_VBRI_OFFSET = 36


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class FrameHeader:
    """The header of one frame."""

    kind: int
    """Version, layer, rate and whether it is mono: the same for all frames of a stream."""
    sample_rate: int
    samples: int
    """Per channel, in this frame."""
    size: int
    """Bytes, header included."""
    is_layer3: bool
    side_bytes: int
    """Bytes of Layer III's side information."""
    has_checksum: bool

    @property
    def delay(self) -> int:
        """Samples before the sound where no tag states them: those of the codec and of LAME."""
        return LAYER3_DELAY if self.is_layer3 else LAYER12_DELAY


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class EncoderTag:
    """The tag that an encoder writes into a first frame without sound (Xing, Info or VBRI)."""

    frames: int
    """Number of frames with sound; 0 where the tag does not state it."""
    delay: int | None
    """Samples that the encoder put in front; None where the tag does not state them."""


def find_frame_chain(
    window: FileWindow, start: int, stop: int, *, kind: int | None = None
) -> int | None:
    """Find the first frame in ``[start, stop)`` that is followed by two others.

    Fewer are enough if the file ends exactly after a frame.

    Args:
        window: the file.
        start: the first offset to try.
        stop: the offset after the last one.
        kind: the expected `FrameHeader.kind`; one following frame of this kind is enough.
    """
    found = window.matches(_SYNC, start, stop)
    return next((offset for offset in found if _frames_follow(window, offset, kind)), None)


def parse_header(head: bytes) -> FrameHeader | None:
    """Parse four bytes as a frame header; None if they are not one, or one of free format."""
    if len(head) < HEADER_BYTES or head[0] != 0xFF or head[1] & 0xE0 != 0xE0:  # noqa: PLR2004  # sync
        return None
    return _parse(head)


def read_encoder_tag(window: FileWindow, offset: int, header: FrameHeader) -> EncoderTag | None:
    """Read the encoder's tag of the frame at ``offset``; None where it has none."""
    at = HEADER_BYTES + header.side_bytes
    if window.at(offset + at, 4) in {b"Xing", b"Info"}:
        return _xing_tag(window.at(offset, min(header.size, _TAG_BYTES))[at:])
    if window.at(offset + _VBRI_OFFSET, 4) == b"VBRI":
        count = window.at(offset + _VBRI_OFFSET + 14, 4)
        return EncoderTag(frames=int.from_bytes(count, "big"), delay=None)
    return None


def begins_stream(window: FileWindow, offset: int, header: FrameHeader) -> bool:
    """Whether the frame at ``offset`` uses no bits of earlier frames, as in a first frame."""
    if not header.is_layer3:
        return True
    head = window.at(offset + HEADER_BYTES + 2 * header.has_checksum, 2)
    bits = 9 if header.side_bytes in {32, 17} and header.samples == 1_152 else 8  # noqa: PLR2004
    return int.from_bytes(head, "big") >> 16 - bits == 0


@functools.lru_cache(maxsize=4_096)
def _parse(head: bytes) -> FrameHeader | None:
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
    is_mono = head[3] >> 6 == _MONO
    side = {(True, False): 32, (False, True): 9}.get((version == _MPEG1, is_mono), 17)
    return FrameHeader(
        kind=is_mono << 6 | version << 4 | layer << 2 | rate,
        sample_rate=sample_rate,
        samples=samples,
        size=size,
        is_layer3=layer == _LAYER3,
        side_bytes=side,
        has_checksum=not head[1] & 1,
    )


def _bitrates(version: int, layer: int) -> tuple[int, ...]:
    if version == _MPEG1:
        return {_LAYER1: _V1_L1, _LAYER3: _V1_L3}.get(layer, _V1_L2)
    return _V2_L1 if layer == _LAYER1 else _V2_L23


def _frames_follow(window: FileWindow, offset: int, expected: int | None) -> bool:
    """Whether a frame is at ``offset`` and frames of the same kind follow it."""
    kind: int | None = None
    for count in range(_CHAIN_FRAMES):
        header = parse_header(window.at(offset, HEADER_BYTES))
        if header is None or (kind is not None and header.kind != kind):
            return count == _CHAIN_FRAMES - 1 and kind == expected
        kind = header.kind
        offset += header.size
        if offset == window.size or is_tag_or_end(window, offset):
            return True
    return True


def _xing_tag(tag: bytes) -> EncoderTag | None:
    """Parse a Xing or Info header and the LAME tag after it."""
    if len(tag) < 12:  # noqa: PLR2004  # mark, flags, count
        return None
    flags, count = struct.unpack_from(">II", tag, 4)
    # Flags 1, 2, 4, 8: frames, bytes, table of contents, quality, each only where its flag is set.
    at = 8 + 4 * bool(flags & 1) + 4 * bool(flags & 2) + 100 * bool(flags & 4) + 4 * bool(flags & 8)
    lame = tag[at : at + 24]
    has_delay = len(lame) == 24 and any(lame[:4])  # noqa: PLR2004  # name, ..., delay, padding
    return EncoderTag(
        frames=count if flags & 1 else 0,
        delay=int.from_bytes(lame[21:24], "big") >> 12 if has_delay else None,
    )
