"""Parse a multipart form as it arrives into its fields and its files.

Starlette's own form reader writes a file to an unnamed temporary file of unlimited size; the audio
reader needs a path and the disk needs a limit. So this module drives the same parser
(python-multipart) and passes the file's bytes on as they arrive.
"""

import dataclasses
from collections.abc import Callable, Collection

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from service.errors import UploadMalformedError

FILE_PART = "file"
"""Name of the part with the recording."""
_FILE_TYPES = (b"audio/", b"video/", b"application/octet-stream", b"application/ogg")
"""Content types that make a part a file even without a file name."""
_NAME_ESCAPES = (("%22", '"'), ("%0D", "\r"), ("%0A", "\n"))
"""Source: WHATWG HTML, 4.10.21.8 "Multipart form data". No other character is escaped, not even
the percent sign."""
_SHOWN_CHARACTERS = 100
MAX_FIELDS = 64
MAX_FIELD_BYTES = 64 * 1024
"""Limit of all field names, values and part headers together: options are short."""


@dataclasses.dataclass(slots=True)
class _Part:
    """The part being received."""

    header_name: bytes = b""
    header_value: bytes = b""
    disposition: bytes = b""
    media_type: bytes = b""
    name: str = ""
    value: bytearray = dataclasses.field(default_factory=bytearray)


class MultipartReceiver:
    """Parses a form whose body arrives in pieces of any size.

    Attributes:
        fields: Names and values received so far, in order.
        has_file: Whether a part named ``file`` has started.
        is_complete: Whether the closing boundary was received.
    """

    def __init__(
        self,
        boundary: bytes,
        write: Callable[[bytes], None],
        *,
        max_files: int = 1,
        begin_file: Callable[[str], None] | None = None,
        end_file: Callable[[], None] | None = None,
        field_names: Collection[str] | None = None,
    ) -> None:
        """Prepare to parse one body.

        Args:
            boundary: The boundary in the Content-Type header.
            write: Called with each piece of the current file.
            max_files: Maximum number of parts named ``file``.
            begin_file: Called with the client's name of each new file, which may be empty.
            end_file: Called after the last byte of each file.
            field_names: The allowed field names: a file in a part of another name is rejected. If
                absent, every name is allowed.
        """
        self._max_files = max_files
        self._files = 0
        self._begin_file = begin_file
        self._end_file = end_file
        self._field_names = field_names
        self._part_bytes = 0
        self.fields: list[tuple[str, str]] = []
        self.has_file = False
        self.is_complete = False
        self._write = write
        self._part = _Part()
        self._field_bytes = 0
        self._has_begun = False
        try:
            self._parser = MultipartParser(
                boundary,
                {
                    "on_part_begin": self._on_part_begin,
                    "on_header_field": self._on_header_field,
                    "on_header_value": self._on_header_value,
                    "on_header_end": self._on_header_end,
                    "on_headers_finished": self._on_headers_finished,
                    "on_part_data": self._on_part_data,
                    "on_part_end": self._on_part_end,
                    "on_end": self._on_end,
                },
            )
        except FormParserError as error:
            raise _malformed(str(error)) from error

    def feed(self, data: bytes) -> None:
        """Parse the next bytes of the body.

        Raises:
            UploadMalformedError: The form is malformed, too large or has too many files.
        """
        if not self._has_begun:
            # The parser skips leading line breaks only within one piece; the result must not depend
            # on where the network splits the body.
            data = data.lstrip(b"\r\n")
            self._has_begun = bool(data)
        elif self.is_complete:
            self._count(len(data))  # the epilogue is dropped, up to the limit
        try:
            self._parser.write(data)
        except FormParserError as error:
            raise _malformed(str(error)) from error

    def finish(self) -> None:
        """Check the form at the end of the body.

        Raises:
            UploadMalformedError: The form is truncated or has no file.
        """
        if not self.is_complete:
            raise _malformed("it ends before its closing boundary")
        if not self.has_file:
            names = ", ".join(sorted({name for name, _ in self.fields})) or "nothing"
            raise _malformed(f"it has no part named {FILE_PART!r} (it has {names})")

    def _on_part_begin(self) -> None:
        self._part = _Part()
        self._part_bytes = 0

    def _on_header_field(self, data: bytes, start: int, end: int) -> None:
        self._count(end - start)
        self._part.header_name += data[start:end]

    def _on_header_value(self, data: bytes, start: int, end: int) -> None:
        self._count(end - start)
        self._part.header_value += data[start:end]

    def _on_header_end(self) -> None:
        if self._part.header_name.lower() == b"content-disposition":
            self._part.disposition = self._part.header_value
        elif self._part.header_name.lower() == b"content-type":
            self._part.media_type = self._part.header_value
        self._part.header_name = self._part.header_value = b""

    def _on_headers_finished(self) -> None:
        _, parameters = parse_options_header(self._part.disposition)
        if b"name" not in parameters:
            raise _malformed("a part has no name")
        self._part.name = parameters[b"name"].decode("utf-8", "replace")
        if self._part.name == FILE_PART:
            self._files += 1
            if self._files > self._max_files == 1:
                raise _malformed(f"it has two parts named {FILE_PART!r}; send one recording")
            if self._files > self._max_files:
                raise _malformed(f"it has more than {self._max_files:,} parts named {FILE_PART!r}")
            self.has_file = True
            if self._max_files > 1:  # thousands of files: max_files bounds their part headers
                self._field_bytes -= self._part_bytes
            if self._begin_file is not None:
                self._begin_file(_read_name(parameters.get(b"filename", b"")))
        elif self._field_names is not None and self._part.name not in self._field_names:
            is_audio = self._part.media_type.lower().startswith(_FILE_TYPES)
            if b"filename" in parameters or is_audio:
                raise self._unexpected_file(self._field_names)

    def _unexpected_file(self, field_names: Collection[str]) -> UploadMalformedError:
        name = self._part.name[:_SHOWN_CHARACTERS]
        how_many = "the recording" if self._max_files == 1 else "every recording"
        return UploadMalformedError(
            f"the form has a file in the unexpected part {name!r}; expected {how_many} in a part"
            f" named {FILE_PART!r} (with curl, -F {FILE_PART}=@song.mp3), and besides only the"
            f" fields {', '.join(field_names)}"
        )

    def _on_part_data(self, data: bytes, start: int, end: int) -> None:
        if self._part.name == FILE_PART:
            self._write(data[start:end])
        else:
            self._count(end - start)
            self._part.value += data[start:end]

    def _on_part_end(self) -> None:
        if self._part.name == FILE_PART:
            if self._end_file is not None:
                self._end_file()
            return
        self.fields.append((self._part.name, self._part.value.decode("utf-8", "replace")))
        if len(self.fields) > MAX_FIELDS:
            raise _malformed(f"it has more than {MAX_FIELDS} fields")

    def _on_end(self) -> None:
        self.is_complete = True

    def _count(self, size: int) -> None:
        self._part_bytes += size
        self._field_bytes += size
        if self._field_bytes > MAX_FIELD_BYTES:
            name = self._part.name[:_SHOWN_CHARACTERS]
            raise _malformed(
                f"its fields hold more than {MAX_FIELD_BYTES:,} bytes (the last one is {name!r})"
            )


def _read_name(sent: bytes) -> str:
    """Return a file's name; browsers and curl escape three of its characters."""
    name = sent.decode("utf-8", "replace")
    for escape, character in _NAME_ESCAPES:
        name = name.replace(escape, character)
    return name


def _malformed(found: str) -> UploadMalformedError:
    return UploadMalformedError(
        f"the multipart form cannot be used: {found}; expected one part named {FILE_PART!r} with"
        " the recording, and options as fields"
    )
