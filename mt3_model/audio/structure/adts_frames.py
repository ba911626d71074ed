"""Find the first frame of a bare AAC stream (ADTS).

Source: ISO/IEC 13818-7, 6.2 (adts_frame).
"""

import re

from mt3_model.audio.file_views import FileWindow
from mt3_model.audio.structure.tags import after_id3

# 12 bits of sync, layer 00; then a profile, a rate that exists (0 to 12) and channels.
_SYNC = re.compile(rb"\xff[\xf0\xf1\xf8\xf9][\x00-\xff]", re.DOTALL)
_HEADER_BYTES = 7
_LAST_RATE = 12
_CHAIN_FRAMES = 3  # frames that must follow each other


def find_adts_frame(window: FileWindow, *, searched_bytes: int) -> int | None:
    """Find the first frame that is followed by others, after ID3 tags or anything else.

    Args:
        window: the file.
        searched_bytes: how far into the file to search.
    """
    after_tags = after_id3(window)
    if _frames_follow(window, after_tags):
        return after_tags
    found = window.matches(_SYNC, 0, min(window.size, searched_bytes))
    return next((offset for offset in found if _frames_follow(window, offset)), None)


def _frames_follow(window: FileWindow, offset: int) -> bool:
    fixed: bytes | None = None
    for count in range(_CHAIN_FRAMES):
        head = window.at(offset, _HEADER_BYTES)
        is_whole = len(head) == _HEADER_BYTES
        size = (head[3] & 3) << 11 | head[4] << 3 | head[5] >> 5 if is_whole else 0
        is_header = size > _HEADER_BYTES and head[0] == 0xFF and head[1] & 0xF6 == 0xF0  # noqa: PLR2004
        # Version, profile, rate and channels are the same for all frames of a stream.
        same = bytes((*head[1:3], head[3] & 0xC0)) if is_header else b""
        if not is_header or head[2] >> 2 & 15 > _LAST_RATE or fixed not in {None, same}:
            return False
        fixed = same
        offset += size
        if offset >= window.size:
            return count > 0 or offset == window.size
    return True
