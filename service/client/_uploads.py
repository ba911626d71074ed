"""Request bodies: a recording, a form of recordings, or a JSON document.

A body is read in chunks while it is sent, never whole, and can be sent again for a retry: a path is
opened again, bytes are sliced, an open file is rewound to where it was. A pipe or a socket cannot
be rewound and is sent once. A form is the same, byte for byte, at every attempt, because the server
recognizes a retried submission by its body and its ``Idempotency-Key``.
"""

import contextlib
import hashlib
import io
import json
import os
import stat
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Protocol, cast, runtime_checkable

CHUNK_BYTES = 1 << 16
"""Bytes read at a time: httpcore2 hands each chunk to the socket in one call, and 64 KiB is what a
socket's buffer holds on common systems."""
_NAME_ESCAPES = str.maketrans({'"': "%22", "\r": "%0D", "\n": "%0A"})
"""Escapes in a file name. Source: WHATWG HTML, 4.10.21.8 "Multipart form data"."""


class Readable(Protocol):
    """A binary file open for reading; with ``seek`` and ``tell`` it can be sent again."""

    def read(self, size: int, /) -> bytes:
        """Read at most ``size`` bytes; none at the end."""
        ...


@runtime_checkable
class _Seekable(Readable, Protocol):
    """A file that can be rewound.

    It is recognized by its methods, because ``tempfile``'s files are not `io.IOBase`.
    """

    def seek(self, offset: int, whence: int = ..., /) -> int: ...

    def tell(self) -> int: ...

    def seekable(self) -> bool: ...


Recording = str | os.PathLike[str] | bytes | bytearray | memoryview | Readable
"""A recording to send: a path, its bytes, or a binary file open for reading."""
Recordings = Recording | Iterable[Recording] | Mapping[str, Recording]
"""One recording, several, or a mapping from names to recordings."""


class Upload:
    """A body that is one recording."""

    media_type = "application/octet-stream"
    has_recordings = True
    """An error response may arrive before the end of such a body."""

    def __init__(self, recording: Recording) -> None:
        """Initialize the body; a path is opened again when it is sent.

        Raises:
            OSError: the path cannot be read.
            TypeError: the recording is not a path, bytes or a file.
        """
        self.length: int | None = None
        """Length in bytes; None if it is unknown."""
        self._start = 0
        self._was_started = False
        if isinstance(recording, bytes | bytearray | memoryview):
            recording = io.BytesIO(recording)
        if isinstance(recording, str | os.PathLike):
            self._path: Path | None = Path(recording)
            self._file: Readable | None = None
            self._can_rewind = not stat.S_ISFIFO(self._path.stat().st_mode)
            if self._can_rewind:
                # Opened here so that an unreadable file is reported before any request.
                with self._path.open("rb") as file:
                    self.length = os.fstat(file.fileno()).st_size
        elif callable(getattr(recording, "read", None)):
            self._path, self._file = None, recording
            self._can_rewind = False
            if isinstance(recording, _Seekable) and recording.seekable():
                self._can_rewind = True
                self._start = recording.tell()
                self.length = recording.seek(0, io.SEEK_END) - self._start
                recording.seek(self._start)
        else:
            raise TypeError(
                f"the recording is {type(recording).__name__}; expected a path, bytes or a"
                " binary file"
            )

    @property
    def can_be_sent(self) -> bool:
        """Whether the recording can be sent from its first byte (once more)."""
        return self._can_rewind or not self._was_started

    def chunks(self) -> Iterator[bytes]:
        """Yield the recording, and no more bytes than announced if the file grows meanwhile.

        Raises:
            OSError: the file cannot be read.
            TypeError: the file is in text mode.
        """
        assert self.can_be_sent
        self._was_started = True
        left = self.length
        with self._open() as file:
            while left is None or left > 0:
                chunk = file.read(CHUNK_BYTES if left is None else min(CHUNK_BYTES, left))
                # The type says bytes, but the caller may have opened the file in text mode.
                if not isinstance(chunk, bytes):  # pyright: ignore[reportUnnecessaryIsInstance]
                    raise TypeError("the file gives text; open it in binary mode ('rb')")
                if not chunk:
                    return
                if left is not None:
                    left -= len(chunk)
                yield chunk

    def without_recordings(self) -> None:
        """Return None: the options are in the query, so nothing remains of the body."""

    @contextlib.contextmanager
    def _open(self) -> Generator[Readable]:
        if self._path is not None:
            with self._path.open("rb") as file:
                yield file
            return
        assert self._file is not None
        if self._can_rewind and isinstance(self._file, _Seekable):
            self._file.seek(self._start)
        yield self._file


class Form:
    """A ``multipart/form-data`` body: fields, then recordings; one file is open at a time.

    The fields come first, so that the server can refuse them before it has read the recordings.
    """

    def __init__(
        self, recordings: Recordings, fields: Sequence[tuple[str, str]], *, seed: str
    ) -> None:
        """Initialize the form.

        Args:
            recordings: the parts named ``file``; a path's file name is sent along unless the
                mapping gives another.
            fields: names and values.
            seed: determines the boundary.

        Raises:
            OSError: a path cannot be read.
            TypeError: a recording is not a path, bytes or a file.
        """
        # 128 bits that the author of a recording cannot guess, so that no recording contains them.
        self._boundary = f"mt3-{hashlib.sha256(seed.encode()).hexdigest()[:32]}"
        self._fields = tuple(fields)
        self._files = [(name, Upload(file)) for name, file in named_recordings(recordings)]
        self.media_type = f"multipart/form-data; boundary={self._boundary}"
        self.has_recordings = bool(self._files)

    @property
    def length(self) -> int | None:
        """Length in bytes; None if the length of a recording is unknown."""
        total = len(self._field_parts()) + len(self._end())
        for name, upload in self._files:
            if upload.length is None:
                return None
            total += len(self._file_head(name)) + upload.length + len(b"\r\n")
        return total

    @property
    def can_be_sent(self) -> bool:
        """Whether every recording can be sent from its first byte (once more)."""
        return all(upload.can_be_sent for _, upload in self._files)

    def without_recordings(self) -> "Form":
        """Return a form of the fields alone, with the same boundary."""
        fields_only = Form([], self._fields, seed="")
        fields_only._boundary, fields_only.media_type = self._boundary, self.media_type
        return fields_only

    def chunks(self) -> Iterator[bytes]:
        """Yield the form from its first byte; small files share a chunk.

        Raises:
            OSError: a file cannot be read, or became shorter.
            TypeError: a file is in text mode.
        """
        buffer = bytearray()
        for part in self.parts():
            buffer += part
            if len(buffer) >= CHUNK_BYTES:
                yield bytes(buffer)
                buffer.clear()
        yield bytes(buffer)

    def parts(self) -> Iterator[bytes]:
        """Yield the form in the pieces that it is made of; see `chunks`."""
        yield self._field_parts()
        for name, upload in self._files:
            yield self._file_head(name)
            sent = 0
            for chunk in upload.chunks():
                sent += len(chunk)
                yield chunk
            if upload.length is not None and sent < upload.length:
                raise OSError(
                    f"{name or 'a recording'} became shorter while it was being sent: {sent:,} of"
                    f" {upload.length:,} bytes"
                )
            yield b"\r\n"
        yield self._end()

    def _field_parts(self) -> bytes:
        return "".join(
            f"--{self._boundary}\r\nContent-Disposition: form-data;"
            f' name="{name.translate(_NAME_ESCAPES)}"\r\n\r\n{value}\r\n'
            for name, value in self._fields
        ).encode()

    def _file_head(self, name: str | None) -> bytes:
        file_name = "" if name is None else f'; filename="{name.translate(_NAME_ESCAPES)}"'
        # Characters of a file name that are not Unicode text (surrogate escapes) become "?".
        return (
            f'--{self._boundary}\r\nContent-Disposition: form-data; name="file"{file_name}\r\n'
            "Content-Type: application/octet-stream\r\n\r\n"
        ).encode(errors="replace")

    def _end(self) -> bytes:
        return f"--{self._boundary}--\r\n".encode()


class JSONBody:
    """A body that is a JSON document."""

    media_type = "application/json"
    can_be_sent = True
    has_recordings = False

    def __init__(self, document: Mapping[str, object]) -> None:
        """Serialize the document.

        Raises:
            ValueError: the document holds a number that is not finite.
        """
        text = json.dumps(document, ensure_ascii=False, allow_nan=False, sort_keys=True)
        self._text = text.encode()
        self.length = len(self._text)

    def without_recordings(self) -> "JSONBody":
        """Return the body itself, because it has no recordings."""
        return self

    def chunks(self) -> Iterator[bytes]:
        """Yield the document."""
        yield self._text


Body = Upload | Form | JSONBody


def named_recordings(recordings: Recordings) -> list[tuple[str | None, Recording]]:
    """Return each recording with its name; None if it has none.

    Raises:
        TypeError: the argument is neither a recording nor an iterable or mapping of them.
    """
    if isinstance(recordings, Mapping):
        return list(cast("Mapping[str | None, Recording]", recordings).items())
    if isinstance(recordings, str | bytes | bytearray | memoryview | os.PathLike) or hasattr(
        recordings, "read"
    ):
        items = [cast("Recording", recordings)]
    else:
        items = list(cast("Iterable[Recording]", recordings))
    return [(_file_name(recording), recording) for recording in items]


def _file_name(recording: Recording) -> str | None:
    """Return the last part of a path, or of an open file's path."""
    if isinstance(recording, str | os.PathLike):
        return os.path.basename(recording) or None  # noqa: PTH119 - for str and Path alike
    name = getattr(recording, "name", None)
    return os.path.basename(name) or None if isinstance(name, str) else None  # noqa: PTH119
