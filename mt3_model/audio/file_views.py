"""Open a file, and read it in two ways: by offset through a buffer, and partly, as a file.

The parsers of `structure/` jump forward through files of any size. `FileWindow` serves them from
one buffer of 1 MiB that is filled with ``pread``. Memory stays flat (a memory map would count
every page that was touched), and the descriptor's own position, which the decoders share, does not
move. `FileSlice` gives a decoder one recording of a file that holds several, or a recording
without the bytes before it.
"""

import io
import os
import pathlib
import re
import stat
from collections.abc import Iterator, Mapping
from typing import Any

from mt3_model.errors import SHORTAGES, AudioFormatError

_BUFFER_BYTES = 1 << 20
_MATCH_BYTES = 64 * 1_024
_MAX_MATCHES = 200_000
"""Maximum number of matches per search: 800 MB of noise, or 1 MB of a malicious file, have as
many."""


def open_file(path: pathlib.Path) -> io.FileIO:
    """Open a regular file for reading.

    Raises:
        AudioFormatError: it cannot be opened, or is a folder, pipe or device.
        OSError: the machine has no descriptor or memory left.
    """
    try:
        # Without O_NONBLOCK, opening a pipe that has no writer would block forever.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        if error.errno in SHORTAGES:  # not the file's fault
            raise
        raise AudioFormatError(
            f"the file cannot be opened: {error.strerror}; give a file that can be read"
        ) from error
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise AudioFormatError("it is a folder, pipe or device; give a regular file")
    return io.FileIO(descriptor)


def open_copies(path: pathlib.Path, file: io.FileIO, count: int) -> list[io.FileIO]:
    """Open a file again, for descriptors with positions of their own.

    Args:
        path: the path from which ``file`` was opened; it may name another file by now.
        file: the open file.
        count: number of descriptors.

    Returns:
        The opened files; fewer than ``count`` where they cannot be opened.
    """
    copies: list[io.FileIO] = []
    for _ in range(count):
        try:
            copy = open_file(path)
        except (AudioFormatError, OSError):
            break
        if not os.path.samestat(os.fstat(copy.fileno()), os.fstat(file.fileno())):
            copy.close()
            break
        copies.append(copy)
    return copies


class FileWindow:
    """Random access to the bytes of an open file, efficient while offsets grow."""

    def __init__(self, descriptor: int, *, start: int = 0) -> None:
        """Prepare for reading.

        Args:
            descriptor: a regular file, open for reading; the caller closes it.
            start: the byte of the file that has offset 0.
        """
        self._descriptor = descriptor
        self._start = start
        self._base = 0
        self._bytes = b""
        self.size = max(0, os.fstat(descriptor).st_size - start)
        """Bytes from ``start`` to the end of the file."""

    def at(self, offset: int, count: int) -> bytes:
        """Return ``count`` bytes from ``offset``; fewer at the end of the file."""
        if offset >= self.size:
            return b""
        begin = offset - self._base
        if begin < 0 or begin + count > len(self._bytes):
            self._bytes = os.pread(
                self._descriptor, max(count, _BUFFER_BYTES), self._start + offset
            )
            self._base, begin = offset, 0
        return self._bytes[begin : begin + count]

    def find(self, mark: bytes, start: int) -> int:
        """Return the offset of the first ``mark`` at or after ``start``, or -1."""
        # In the buffer, without copies, and with `re`, which is faster here than `bytes.find`.
        pattern, offset = re.compile(re.escape(mark)), start
        while len(self.at(offset, len(mark))) == len(mark):
            found = pattern.search(self._bytes, offset - self._base)
            if found is not None:
                return self._base + found.start()
            offset = self._base + len(self._bytes) - len(mark) + 1
        return -1

    def matches(self, pattern: re.Pattern[bytes], start: int, stop: int) -> Iterator[int]:
        """Yield the offsets in ``[start, stop)`` where ``pattern`` matches, 200,000 at most.

        Args:
            pattern: a pattern of exactly three bytes, such as the sync word of a frame.
            start: the first offset.
            stop: the offset after the last one.
        """
        offset, count = start, 0
        while offset < stop:
            piece = self.at(offset, _MATCH_BYTES)
            for found in pattern.finditer(piece):
                at, count = offset + found.start(), count + 1
                if at >= stop or count > _MAX_MATCHES:
                    return
                yield at
            if len(piece) < _MATCH_BYTES:
                return
            offset += len(piece) - 2  # three bytes may lie across the border

    def after(self, offset: int) -> "FileWindow":
        """Return a window in which ``offset`` is 0."""
        return FileWindow(self._descriptor, start=self._start + offset)


class FileSlice(io.RawIOBase):
    """Part of an open file, as a read-only file for a decoder."""

    def __init__(
        self,
        descriptor: int,
        *,
        start: int = 0,
        stop: int | None = None,
        patches: Mapping[int, bytes] | None = None,
    ) -> None:
        """Open the bytes ``[start, stop)``.

        Args:
            descriptor: a regular file, open for reading; the caller closes it.
            start: the first byte.
            stop: the byte after the last one; None for the end of the file.
            patches: bytes that replace those of the file, by their offset in the slice.
        """
        super().__init__()
        size = os.fstat(descriptor).st_size
        self._descriptor = descriptor
        self._start = start
        self._size = max(0, (size if stop is None else min(stop, size)) - start)
        self._patches = dict(patches or {})
        self._position = 0

    def readable(self) -> bool:
        """Return True."""
        return True

    def seekable(self) -> bool:
        """Return True."""
        return True

    def tell(self) -> int:
        """Return the position in the slice."""
        return self._position

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        """Move to ``offset``; return -1 if the position would be invalid.

        Damaged headers make FFmpeg seek to negative positions. PyAV would keep an exception raised
        here and raise it at a later call, so the result is FFmpeg's own sign of failure.
        """
        origin = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._size}
        position = origin.get(whence, -1) + offset
        if whence not in origin or not 0 <= position < 1 << 63:
            return -1
        self._position = position
        return position

    def readinto(self, buffer: Any, /) -> int:
        """Read as many bytes as fit, up to the end of the slice."""
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
