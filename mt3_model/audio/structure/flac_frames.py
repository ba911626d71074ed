"""Headers of FLAC frames: find the next one, and read a frame's length.

Source: RFC 9639, 9.1 (frame header; its last byte is a CRC of 8 bits, polynomial 0x07).
"""

import re

from mt3_model.audio.file_views import FileWindow

_SYNC = re.compile(rb"\xff[\xf8\xf9][\x10-\xff]", re.DOTALL)
_SEARCHED_BYTES = 64 * 1024  # the largest frames of 16-bit stereo have 20 KiB
_LONGEST_HEADER_BYTES = 16
_LAST_CHANNELS = 10
_NO_NUMBER = 0xFF  # no first byte of a number
_BLOCK_SIZE_BYTES = {6: 1, 7: 2}  # by block size code
_SAMPLE_RATE_BYTES = {12: 1, 13: 2, 14: 2}  # by sample rate code


def frames_follow(window: FileWindow, offset: int) -> bool:
    """Whether a frame begins after ``offset``, within the length of a frame or two."""
    found = window.matches(_SYNC, offset, offset + _SEARCHED_BYTES)
    return any(_is_header(window.at(at, _LONGEST_HEADER_BYTES)) for at in found)


def frame_samples(frame: bytes) -> int:
    """Return the samples per channel of a frame; 0 where the bytes are not one."""
    if len(frame) < 6 or frame[0] != 0xFF or frame[1] & 0xFC != 0xF8:  # noqa: PLR2004  # sync
        return 0
    code = frame[2] >> 4
    if code == 1:
        return 192
    if code in {2, 3, 4, 5}:
        return 576 << code - 2
    if code >= 8:  # noqa: PLR2004  # 256 and its doubles
        return 256 << code - 8
    at, width = 4 + _number_bytes(frame[4]), _BLOCK_SIZE_BYTES.get(code, 0)
    size = frame[at : at + width]
    return int.from_bytes(size, "big") + 1 if size else 0


def _is_header(head: bytes) -> bool:
    if len(head) < _LONGEST_HEADER_BYTES or head[3] & 1 or head[4] == _NO_NUMBER:
        return False
    if head[3] >> 4 > _LAST_CHANNELS:
        return False
    size = 4 + _number_bytes(head[4])
    size += _BLOCK_SIZE_BYTES.get(head[2] >> 4, 0) + _SAMPLE_RATE_BYTES.get(head[2] & 15, 0)
    return _checksum(head[:size]) == head[size]


def _number_bytes(first: int) -> int:
    """Return the length of the frame's number, which is coded like UTF-8, by its first byte."""
    return max(1, 8 - (first ^ 0xFF).bit_length())


def _checksum(content: bytes) -> int:
    checksum = 0
    for byte in content:
        checksum ^= byte
        for _ in range(8):
            checksum = checksum << 1 & 0xFF ^ (0x07 if checksum & 0x80 else 0)
    return checksum
