"""Several recordings, or a document, -> the body of one request.

A form of thousands of files is streamed: one file is open at a time, and memory holds a piece of
it. The form is the same, byte for byte, however often it is sent, because a server tells a retried
submission from another one by its body (`Idempotency-Key`).
"""

import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import cast

from service.client.uploads import PIECE_BYTES, Body, Recording, Upload

Recordings = Recording | Iterable[Recording] | Mapping[str, Recording]
"""One recording, several, or several by the names that they shall have."""
_NAME_ESCAPES = str.maketrans({'"': "%22", "\r": "%0D", "\n": "%0A"})
"""In a file name. Source: WHATWG HTML, 4.10.21.8 "Multipart form data"."""


class Form:
    """A ``multipart/form-data`` body: fields first, so that they can be refused before the files.

    Raises:
        OSError: A path names nothing that can be read.
        TypeError: Something is none of what can be sent.
    """

    def __init__(
        self, recordings: Recordings, fields: Sequence[tuple[str, str]], *, seed: str
    ) -> None:
        """Takes the parts.

        Args:
            recordings: Sent as parts named ``file``; a path's name is told unless another is given.
            fields: Names and values.
            seed: The same one gives the same boundary.
        """
        # Of 128 bits that whoever made a recording does not know, so that it is in none of them.
        self._boundary = f"mt3-{hashlib.sha256(seed.encode()).hexdigest()[:32]}"
        self._fields = tuple(fields)
        self._files = [(name, Upload(file)) for name, file in named(recordings)]
        head, tail = self._fields_text(), self._closing()
        lengths = [upload.length for _, upload in self._files]
        self.length = None
        if None not in lengths:
            heads = sum(len(self._part_head(name)) + 2 for name, _ in self._files)
            contents = sum(length for length in lengths if length is not None)
            self.length = len(head) + heads + contents + len(tail)
        self.media_type = f"multipart/form-data; boundary={self._boundary}"
        self.holds_recordings = bool(self._files)

    @property
    def may_be_sent(self) -> bool:
        """Whether it can (still) be sent from its first byte."""
        return all(upload.may_be_sent for _, upload in self._files)

    def without_recordings(self) -> Body:
        """Its fields alone: their refusal is the same."""
        alone = Form([], self._fields, seed="")
        alone._boundary, alone.media_type = self._boundary, self.media_type
        return alone

    def pieces(self) -> Iterator[bytes]:
        """Gives it from the beginning; small files share a piece.

        Raises:
            OSError: A file cannot be read, or has become shorter.
            TypeError: A file gives text.
        """
        held = bytearray()
        for part in self._parts():
            held += part
            if len(held) >= PIECE_BYTES:
                yield bytes(held)
                held.clear()
        yield bytes(held)

    def _parts(self) -> Iterator[bytes]:
        yield self._fields_text()
        for name, upload in self._files:
            yield self._part_head(name)
            sent = 0
            for piece in upload.pieces():
                sent += len(piece)
                yield piece
            if upload.length is not None and sent < upload.length:
                raise OSError(
                    f"{name or 'a recording'} became shorter while it was sent: {sent:,} of"
                    f" {upload.length:,} bytes"
                )
            yield b"\r\n"
        yield self._closing()

    def _fields_text(self) -> bytes:
        return "".join(
            f"--{self._boundary}\r\nContent-Disposition: form-data;"
            f' name="{name.translate(_NAME_ESCAPES)}"\r\n\r\n{value}\r\n'
            for name, value in self._fields
        ).encode()

    def _part_head(self, name: str | None) -> bytes:
        told = "" if name is None else f'; filename="{name.translate(_NAME_ESCAPES)}"'
        # A name that is no text (of another system's disk) goes as the question marks it is shown.
        return (
            f'--{self._boundary}\r\nContent-Disposition: form-data; name="file"{told}\r\n'
            "Content-Type: application/octet-stream\r\n\r\n"
        ).encode(errors="replace")

    def _closing(self) -> bytes:
        return f"--{self._boundary}--\r\n".encode()


class Document:
    """A JSON body."""

    media_type = "application/json"
    may_be_sent = True
    holds_recordings = False

    def __init__(self, document: Mapping[str, object]) -> None:
        """Writes it.

        Raises:
            ValueError: It holds a number that is not finite.
        """
        text = json.dumps(document, ensure_ascii=False, allow_nan=False, sort_keys=True)
        self._text = text.encode()
        self.length = len(self._text)

    def without_recordings(self) -> Body:
        """Itself: it has none."""
        return self

    def pieces(self) -> Iterator[bytes]:
        """Gives it."""
        yield self._text


def named(recordings: Recordings) -> list[tuple[str | None, Recording]]:
    """Says what each recording is called; none: nothing is known.

    Raises:
        TypeError: It is neither a recording nor several.
    """
    if isinstance(recordings, Mapping):
        return list(cast("Mapping[str | None, Recording]", recordings).items())
    if isinstance(recordings, str | bytes | bytearray | memoryview | os.PathLike) or hasattr(
        recordings, "read"
    ):
        several = [cast("Recording", recordings)]
    else:
        several = list(cast("Iterable[Recording]", recordings))
    return [(_name_of(recording), recording) for recording in several]


def _name_of(recording: Recording) -> str | None:
    """A path's last part; an open file's, where it knows its path."""
    if isinstance(recording, str | os.PathLike):
        return os.path.basename(recording) or None  # noqa: PTH119 - of text and paths alike
    name = getattr(recording, "name", None)
    return os.path.basename(name) or None if isinstance(name, str) else None  # noqa: PTH119
