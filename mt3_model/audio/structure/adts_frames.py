"""The frames of a bare AAC stream (ADTS): how to find the first one.

Source: ISO/IEC 13818-7, 6.2 (adts_frame).
"""

import re

from mt3_model.audio.file_views import FileWindow, after_id3

# 12 bits of sync, layer 00; then a profile, a rate that exists (0 to 12) and channels.
_SYNC = re.compile(rb"\xff[\xf0\xf1\xf8\xf9][\x00-\xff]", re.DOTALL)
_HEADER = 7
_LAST_RATE = 12
_CHAIN = 3
_PIECE = 64 * 1024
_MAX_CANDIDATES = 200_000
"""Marks looked at in one search: noise has as many in 800 MB, a file made to cost time in one."""


def find_adts_frame(window: FileWindow, *, searched_bytes: int) -> int | None:
    """Find the first frame that others follow, behind ID3 tags or whatever else is in front.

    Args:
        window: the file.
        searched_bytes: how far into the file to look.
    """
    behind = after_id3(window)
    if _frames_follow(window, behind):
        return behind
    offset, stop, candidates = 0, min(window.size, searched_bytes), 0
    while offset < stop:
        piece = window.at(offset, _PIECE)
        for found in _SYNC.finditer(piece):
            candidates += 1
            if candidates > _MAX_CANDIDATES:
                return None
            if _frames_follow(window, offset + found.start()):
                return offset + found.start()
        if len(piece) < _PIECE:
            return None
        offset += len(piece) - 2  # a mark of three bytes may lie across the border
    return None


def _frames_follow(window: FileWindow, offset: int) -> bool:
    fixed: bytes | None = None
    for count in range(_CHAIN):
        head = window.at(offset, _HEADER)
        size = 0 if len(head) < _HEADER else (head[3] & 3) << 11 | head[4] << 3 | head[5] >> 5
        is_header = size > _HEADER and head[0] == 0xFF and head[1] & 0xF6 == 0xF0  # noqa: PLR2004
        # Version, profile, rate and channels are the same for all frames of a stream.
        same = bytes((*head[1:3], head[3] & 0xC0)) if is_header else b""
        if not is_header or head[2] >> 2 & 15 > _LAST_RATE or fixed not in {None, same}:
            return False
        fixed = same
        offset += size
        if offset >= window.size:
            return count > 0 or offset == window.size
    return True
