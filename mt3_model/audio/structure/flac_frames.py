"""Whether frames of a flac follow where its header says that it ends.

Source: RFC 9639, 9.1 (frame header; its last byte is a CRC of 8 bits, polynomial 0x07).
"""

import re

from mt3_model.audio.file_views import FileWindow

_SYNC = re.compile(rb"\xff[\xf8\xf9][\x10-\xff]", re.DOTALL)
_SEARCHED_BYTES = 64 * 1024  # the largest frames of 16-bit stereo have 20 KiB
_LONGEST_HEADER = 16


def frames_follow(window: FileWindow, offset: int) -> bool:
    """Whether a frame begins behind ``offset``, within the length of a frame or two."""
    piece = window.at(offset, _SEARCHED_BYTES)
    return any(
        _is_header(piece[found.start() : found.start() + _LONGEST_HEADER])
        for found in _SYNC.finditer(piece)
    )


def _is_header(head: bytes) -> bool:
    if len(head) < _LONGEST_HEADER or head[3] & 1 or head[3] >> 4 > 10:  # noqa: PLR2004  # channels
        return False
    # The number of the frame or sample is coded as UTF-8, in up to seven bytes.
    ones = 8 - (head[4] ^ 0xFF).bit_length()
    size = 5 + max(0, ones - 1)
    size += {6: 1, 7: 2}.get(head[2] >> 4, 0) + {12: 1, 13: 2, 14: 2}.get(head[2] & 15, 0)
    return _checksum(head[:size]) == head[size]


def _checksum(content: bytes) -> int:
    checksum = 0
    for byte in content:
        checksum ^= byte
        for _ in range(8):
            checksum = checksum << 1 & 0xFF ^ (0x07 if checksum & 0x80 else 0)
    return checksum
