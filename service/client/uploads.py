"""A recording -> the pieces of a request's body, from the first byte as often as it takes.

A path is opened anew for every attempt, bytes are sliced, an open file is taken back to where it
stood; what cannot go back (a pipe, a socket) is sent once. Nothing is read whole: a two-hour wav
passes through memory a piece at a time.
"""

import asyncio
import contextlib
import io
import os
import stat
from collections.abc import AsyncIterator, Generator, Iterator
from pathlib import Path
from typing import Protocol, runtime_checkable

PIECE_BYTES = 1 << 16
"""Read at a time: httpcore hands each to the socket in one call, and 64 KiB is what a socket's
buffer takes on the systems we know."""


class Readable(Protocol):
    """A file open for reading bytes; with ``seek`` and ``tell`` it can be sent again."""

    def read(self, size: int, /) -> bytes:
        """Reads at most so many bytes; none at the end."""
        ...


@runtime_checkable
class _Seekable(Readable, Protocol):
    """A file that may go back; ``tempfile``'s are no `io.IOBase`, so methods decide."""

    def seek(self, offset: int, whence: int = ..., /) -> int: ...

    def tell(self) -> int: ...

    def seekable(self) -> bool: ...


class Body(Protocol):
    """What a request carries."""

    @property
    def media_type(self) -> str:
        """Its ``Content-Type``."""
        ...

    @property
    def length(self) -> int | None:
        """Bytes, where they are known beforehand."""
        ...

    @property
    def may_be_sent(self) -> bool:
        """Whether it can (still) be sent from its first byte."""
        ...

    @property
    def holds_recordings(self) -> bool:
        """Whether it may be long, so that a refusal can come before it is whole."""
        ...

    def without_recordings(self) -> "Body | None":
        """The same request but for its recordings; none: nothing is left of it."""
        ...

    def pieces(self) -> Iterator[bytes]:
        """Gives it from the beginning."""
        ...


Recording = str | os.PathLike[str] | bytes | bytearray | memoryview | Readable
"""A recording to send: a path, its bytes, or a binary file open for reading."""


class Upload:
    """A recording on its way to the server."""

    media_type = "application/octet-stream"
    holds_recordings = True

    def __init__(self, recording: Recording) -> None:
        """Takes a recording; a path is opened only when it is sent.

        Raises:
            OSError: The path names nothing that can be read.
            TypeError: It is none of what can be sent.
        """
        self._begun = False
        self._start = 0
        self.length: int | None = None
        """Bytes, where they are known beforehand."""
        if isinstance(recording, bytes | bytearray | memoryview):
            recording = io.BytesIO(recording)
        if isinstance(recording, str | os.PathLike):
            self._path: Path | None = Path(recording)
            self._file: Readable | None = None
            self._may_rewind = not stat.S_ISFIFO(self._path.stat().st_mode)
            if self._may_rewind:
                # Opened for a moment: what cannot be read is said before the server is asked.
                with self._path.open("rb") as file:
                    self.length = os.fstat(file.fileno()).st_size
        elif callable(getattr(recording, "read", None)):
            self._path, self._file = None, recording
            self._may_rewind = False
            if isinstance(recording, _Seekable) and recording.seekable():
                self._may_rewind = True
                self._start = recording.tell()
                self.length = recording.seek(0, io.SEEK_END) - self._start
                recording.seek(self._start)
        else:
            raise TypeError(
                f"the recording is {type(recording).__name__}; expected a path, bytes or a"
                " binary file"
            )

    @property
    def may_be_sent(self) -> bool:
        """Whether it can (still) be sent from its first byte."""
        return self._may_rewind or not self._begun

    def pieces(self) -> Iterator[bytes]:
        """Reads it from the beginning; as many bytes as were announced, should it grow meanwhile.

        Raises:
            OSError: It cannot be read.
            TypeError: The file gives text.
        """
        assert self.may_be_sent
        self._begun = True
        left = self.length
        with self._opened() as file:
            while left is None or left > 0:
                piece = file.read(PIECE_BYTES if left is None else min(PIECE_BYTES, left))
                # A file in text mode is Readable only by its caller's mistake.
                if not isinstance(piece, bytes):  # pyright: ignore[reportUnnecessaryIsInstance]
                    raise TypeError("the file gives text; open it in binary mode ('rb')")
                if not piece:
                    return
                if left is not None:
                    left -= len(piece)
                yield piece

    def without_recordings(self) -> None:
        """Nothing: options go beside it, in the query."""

    @contextlib.contextmanager
    def _opened(self) -> Generator[Readable]:
        if self._path is not None:
            with self._path.open("rb") as file:
                yield file
            return
        assert self._file is not None
        if self._may_rewind and isinstance(self._file, _Seekable):
            self._file.seek(self._start)
        yield self._file


async def read_in_thread(body: Body) -> AsyncIterator[bytes]:
    """Gives a body's pieces without making the event loop wait for disks and pipes."""
    pieces = body.pieces()
    while (piece := await asyncio.to_thread(next, pieces, None)) is not None:
        yield piece
