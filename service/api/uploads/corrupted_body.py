"""Detect bodies that curl has changed: a recording sent with ``-d`` or ``--data-urlencode``.

Both options, and ``--data-binary``, which changes nothing, label the body
``application/x-www-form-urlencoded``. The bytes tell them apart: ``-d @song.mp3`` removes every
carriage return, line feed and zero byte, and every recording has at least one of these; the other
options send text.
"""

from service.errors import UploadMangledError

URLENCODED = "application/x-www-form-urlencoded"
_PRINTABLE = bytes(range(0x20, 0x7F))
_REMOVED = (b"\r", b"\n", b"\0")
_MIN_BYTES = 512
"""A shorter body could lack all three by chance. 512 random bytes do in 2 of 1,000 cases, and every
container but a bare MP3 has zeros in its first bytes."""
_MAX_TEXT_BYTES = 2**16
_SHOWN_BYTES = 40


class CorruptedBodyCheck:
    """Checks a body while it arrives."""

    def __init__(self) -> None:
        """Start before the first byte."""
        self._size = 0
        self._head = b""
        self._is_text = True
        self._has_removed_byte = False

    def feed(self, data: bytes) -> None:
        """Check the next bytes.

        Raises:
            UploadMangledError: The body is a long text, so not a recording.
        """
        self._size += len(data)
        self._head += data[: _SHOWN_BYTES - len(self._head)]
        self._is_text = self._is_text and not data.translate(None, _PRINTABLE)
        self._has_removed_byte = self._has_removed_byte or any(byte in data for byte in _REMOVED)
        if self._is_text and self._size > _MAX_TEXT_BYTES:
            raise self._text_error()

    def finish(self) -> None:
        """Check the complete body.

        Raises:
            UploadMangledError: The body is text, or lacks every byte that ``-d`` removes.
        """
        if self._size == 0:
            return
        if self._is_text:
            raise self._text_error()
        if not self._has_removed_byte and self._size >= _MIN_BYTES:
            raise UploadMangledError(
                "the body has lost all its line breaks and zero bytes, as curl's -d @song.mp3 does"
                " to a file; send it with --data-binary @song.mp3 or -F file=@song.mp3"
            )

    def refuse_text(self) -> None:
        """Check the part ``file`` of a form that was sent without a file name.

        Raises:
            UploadMangledError: The part is text, such as the name of a file.
        """
        if self._size and self._is_text:
            raise self._text_error()

    def _text_error(self) -> UploadMangledError:
        return UploadMangledError(
            f"the body is text that begins with {self._head.decode('ascii')!r}, not a recording;"
            " with curl, write --data-binary @song.mp3 or -F file=@song.mp3 (with the @; -d and"
            " --data-urlencode change the bytes)"
        )
