"""Bytes of a file by their offset: a small window for walkers, a slice for decoders.

Frame and page walkers jump forward through files of any size. A window of 1 MiB read with
``pread`` keeps memory flat (a memory map would count every touched page as ours) and leaves the
file's own position alone, which the decoders share. A slice shows a decoder one recording of a
file that holds several, or the recording without what lies in front of it.
"""

import io
import os
from collections.abc import Mapping
from typing import Any

_WINDOW_BYTES = 1 << 20
_ID3_HEADER = 10


class FileWindow:
    """Random access to an open file's bytes, cheap when offsets grow."""

    def __init__(self, descriptor: int, *, start: int = 0) -> None:
        """Looks at the file behind ``descriptor``, which stays the caller's to close.

        Args:
            descriptor: a regular file, open for reading.
            start: the byte that offset 0 stands for.
        """
        self._descriptor = descriptor
        self._start = start
        self._base = 0
        self._bytes = b""
        self.size = max(0, os.fstat(descriptor).st_size - start)
        """Bytes from ``start`` to the file's end."""

    def at(self, offset: int, count: int) -> bytes:
        """Returns ``count`` bytes from ``offset``; fewer at the file's end."""
        if offset >= self.size:
            return b""
        begin = offset - self._base
        if begin < 0 or begin + count > len(self._bytes):
            self._bytes = os.pread(
                self._descriptor, max(count, _WINDOW_BYTES), self._start + offset
            )
            self._base, begin = offset, 0
        return self._bytes[begin : begin + count]

    def find(self, mark: bytes, start: int) -> int:
        """Returns the offset of the next ``mark`` from ``start`` on, or -1."""
        offset = start
        while offset < self.size:
            piece = self.at(offset, _WINDOW_BYTES)
            found = piece.find(mark)
            if found >= 0:
                return offset + found
            if offset + len(piece) >= self.size:
                return -1
            offset += max(1, len(piece) - len(mark) + 1)
        return -1

    def after(self, offset: int) -> "FileWindow":
        """Returns a window in which ``offset`` is 0."""
        return FileWindow(self._descriptor, start=self._start + offset)


class FileSlice(io.RawIOBase):
    """Part of an open file, as a file of its own that decoders can read."""

    def __init__(
        self,
        descriptor: int,
        *,
        start: int = 0,
        stop: int | None = None,
        patches: Mapping[int, bytes] | None = None,
    ) -> None:
        """Shows the bytes of ``[start, stop)``.

        Args:
            descriptor: a regular file, open for reading; stays the caller's to close.
            start: the first byte shown.
            stop: the byte after the last one; absent: the file's end.
            patches: bytes shown in the place of the file's own, by their offset in the slice.
        """
        super().__init__()
        size = os.fstat(descriptor).st_size
        self._descriptor = descriptor
        self._start = start
        self._size = max(0, (size if stop is None else min(stop, size)) - start)
        self._patches = dict(patches or {})
        self._position = 0

    def readable(self) -> bool:
        """Returns True."""
        return True

    def seekable(self) -> bool:
        """Returns True."""
        return True

    def tell(self) -> int:
        """Returns the position in the slice."""
        return self._position

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        """Moves to ``offset``; returns -1 where there is no such place.

        Damaged headers send FFmpeg to places before the file's beginning. An exception there
        would be kept by PyAV and surface at some later call; FFmpeg's own sign for it is a
        negative position.
        """
        origin = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._size}
        position = origin.get(whence, -1) + offset
        if whence not in origin or not 0 <= position < 1 << 63:
            return -1
        self._position = position
        return position

    def readinto(self, buffer: Any, /) -> int:
        """Reads as many bytes as fit, up to the slice's end."""
        view = memoryview(buffer).cast("B")
        count = max(0, min(len(view), self._size - self._position))
        content = os.pread(self._descriptor, count, self._start + self._position)
        view[: len(content)] = content
        for offset, patch in self._patches.items():
            first = max(offset, self._position)
            past = min(offset + len(patch), self._position + len(content))
            if first < past:
                view[first - self._position : past - self._position] = patch[
                    first - offset : past - offset
                ]
        self._position += len(content)
        return len(content)


def after_id3(window: FileWindow, offset: int = 0) -> int:
    """Offset of the first byte after any ID3v2 tags at ``offset``.

    Source: ID3v2.4 structure, 3.1: size as four bytes of seven bits, without the header; flag
    0x10 announces a footer of ten more bytes.
    """
    while True:
        head = window.at(offset, _ID3_HEADER)
        if len(head) < _ID3_HEADER or not head.startswith(b"ID3"):
            return offset
        size = (head[6] & 127) << 21 | (head[7] & 127) << 14 | (head[8] & 127) << 7 | head[9] & 127
        offset += _ID3_HEADER + size + (_ID3_HEADER if head[5] & 0x10 else 0)
