"""Bytes of a file by their offset, through one small window.

Frame and page walkers jump forward through files of any size. A window of 1 MiB read with
``pread`` keeps memory flat (a memory map would count every touched page as ours) and leaves the
file's own position alone, which the decoders share.
"""

import os

_WINDOW_BYTES = 1 << 20
_ID3_HEADER = 10


class FileWindow:
    """Random access to an open file's bytes, cheap when offsets grow."""

    def __init__(self, descriptor: int) -> None:
        """Looks at the file behind ``descriptor``, which stays the caller's to close."""
        self._descriptor = descriptor
        self._base = 0
        self._bytes = b""
        self.size = os.fstat(descriptor).st_size

    def at(self, offset: int, count: int) -> bytes:
        """Returns ``count`` bytes from ``offset``; fewer at the file's end."""
        if offset >= self.size:
            return b""
        begin = offset - self._base
        if begin < 0 or begin + count > len(self._bytes):
            self._bytes = os.pread(self._descriptor, max(count, _WINDOW_BYTES), offset)
            self._base, begin = offset, 0
        return self._bytes[begin : begin + count]


def after_id3(window: FileWindow) -> int:
    """Offset of the first byte after any ID3v2 tags at the head.

    Source: ID3v2.4 structure, 3.1: size as four bytes of seven bits, without the header; flag
    0x10 announces a footer of ten more bytes.
    """
    offset = 0
    while True:
        head = window.at(offset, _ID3_HEADER)
        if len(head) < _ID3_HEADER or not head.startswith(b"ID3"):
            return offset
        size = (head[6] & 127) << 21 | (head[7] & 127) << 14 | (head[8] & 127) << 7 | head[9] & 127
        offset += _ID3_HEADER + size + (_ID3_HEADER if head[5] & 0x10 else 0)
