"""Finds bodies that curl has changed: a recording sent with ``-d`` or ``--data-urlencode``.

Both, and ``--data-binary``, which changes nothing, say ``application/x-www-form-urlencoded``. What
tells them apart is in the bytes: ``-d @song.mp3`` leaves out every carriage return, line feed and
zero byte, and no recording is without all three; the others send text.
"""

from service.errors import UploadMangledError

URLENCODED = "application/x-www-form-urlencoded"
_PRINTABLE = bytes(range(0x20, 0x7F))
_LEFT_OUT = (b"\r", b"\n", b"\0")
_FEWEST_BYTES = 512
"""Fewer could be without the three by chance; 512 random bytes are in 2 of 1,000 cases, and all
containers but a bare MP3 have zeros in their first bytes."""
_MOST_TEXT_BYTES = 2**16
_SHOWN_BYTES = 40


class CorruptedBodyCheck:
    """Looks at a body while it arrives."""

    def __init__(self) -> None:
        """Begins with nothing seen."""
        self._size = 0
        self._head = b""
        self._is_text = True
        self._has_left_out = False

    def feed(self, data: bytes) -> None:
        """Looks at the next bytes.

        Raises:
            UploadMangledError: So much text is no recording.
        """
        self._size += len(data)
        self._head += data[: _SHOWN_BYTES - len(self._head)]
        self._is_text = self._is_text and not data.translate(None, _PRINTABLE)
        self._has_left_out = self._has_left_out or any(byte in data for byte in _LEFT_OUT)
        if self._is_text and self._size > _MOST_TEXT_BYTES:
            raise self._text()

    def finish(self) -> None:
        """Judges the whole body.

        Raises:
            UploadMangledError: It is text, or lacks what ``-d`` leaves out.
        """
        if self._size == 0:
            return
        if self._is_text:
            raise self._text()
        if not self._has_left_out and self._size >= _FEWEST_BYTES:
            raise UploadMangledError(
                "the body has lost all its line breaks and zero bytes, as curl's -d @song.mp3 does"
                " to a file; send it with --data-binary @song.mp3 or -F file=@song.mp3"
            )

    def refuse_text(self) -> None:
        """Judges the part ``file`` of a form that came without a file's name.

        Raises:
            UploadMangledError: It is text, such as the name of a file.
        """
        if self._size and self._is_text:
            raise self._text()

    def _text(self) -> UploadMangledError:
        return UploadMangledError(
            f"what was sent is text that begins with {self._head.decode('ascii')!r} and no"
            " recording; with curl, write --data-binary @song.mp3 or -F file=@song.mp3 (with the"
            " @; -d and --data-urlencode change the bytes)"
        )
