"""A request's body under ``Content-Encoding`` -> the bytes that were compressed.

Pieces come out small however well they were compressed, so that whoever counts bytes against a
limit (every reader of a body does) stops a compression bomb after one of them.
"""

import zlib
from collections.abc import Iterator

from starlette.datastructures import Headers

from service.errors import UnsupportedEncodingError, UploadEncodingError, UploadTooLargeError

ACCEPTED = ("gzip", "deflate")
"""What `Accept-Encoding` says with a refusal; ``x-gzip`` is an old name of gzip."""
_PIECE_BYTES = 2**18
_MOST_EXPANSION = 100
"""Of recordings that are no bombs: PCM with long silences in it shrinks to a tenth or less."""
_FREE_BYTES = 2**24
"""Up to this size anything may expand as it likes."""
_GZIP = 16 + zlib.MAX_WBITS
_ZLIB = zlib.MAX_WBITS
_RAW_DEFLATE = -zlib.MAX_WBITS
_SHOWN_CHARACTERS = 100


class BodyDecoder:
    """Decompresses one body, piece by piece."""

    def __init__(self, coding: str) -> None:
        """Begins.

        Args:
            coding: ``gzip`` or ``deflate``.
        """
        self._coding = coding
        self._decompressor = zlib.decompressobj(_GZIP) if coding == "gzip" else None
        self._pending = b""
        self._received = 0
        self._given = 0

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Takes the next bytes received, and gives what they stand for in small pieces.

        Raises:
            UploadEncodingError: They are not in the coding that was named.
            UploadTooLargeError: They expand as no recording does.
        """
        self._received += len(data)
        data = self._pending + data
        self._pending = b""
        try:
            while data:
                if self._decompressor is None:
                    if len(data) == 1:  # too little to tell which kind of deflate it is
                        self._pending = data
                        return
                    self._decompressor = zlib.decompressobj(_deflate_kind(data))
                if self._decompressor.eof:
                    if self._coding != "gzip":
                        raise self._malformed("bytes follow its end")
                    self._decompressor = zlib.decompressobj(_GZIP)  # gzip files may be joined
                piece = self._decompressor.decompress(data, _PIECE_BYTES)
                data = self._decompressor.unconsumed_tail or self._decompressor.unused_data
                if piece:
                    yield self._counted(piece)
            # What a full piece held back without needing more input.
            while self._decompressor is not None and not self._decompressor.eof:
                piece = self._decompressor.decompress(b"", _PIECE_BYTES)
                if not piece:
                    return
                yield self._counted(piece)
        except zlib.error as error:
            raise self._malformed(str(error)) from error

    def finish(self) -> None:
        """Says that the body has ended.

        Raises:
            UploadEncodingError: It was cut off.
        """
        if self._received and (self._decompressor is None or not self._decompressor.eof):
            raise self._malformed("it ends too early")

    def _counted(self, piece: bytes) -> bytes:
        self._given += len(piece)
        if self._given > max(_FREE_BYTES, _MOST_EXPANSION * self._received):
            raise UploadTooLargeError(
                f"the {self._coding} body expands to more than {_MOST_EXPANSION} times its size;"
                " send the recording uncompressed, or in a compressed format such as FLAC"
            )
        return piece

    def _malformed(self, found: str) -> UploadEncodingError:
        return UploadEncodingError(
            f"the body is not the {self._coding} that Content-Encoding says it is ({found}); send"
            " it whole, or uncompressed and without Content-Encoding"
        )


def find_decoder(headers: Headers) -> BodyDecoder | None:
    """Gives what decompresses a request's body; None where nothing has to.

    Raises:
        UnsupportedEncodingError: It is compressed in another way than those accepted, or twice.
    """
    given = ",".join(headers.getlist("content-encoding"))
    codings = [coding.strip().lower() for coding in given.split(",")]
    codings = [coding.removeprefix("x-") for coding in codings if coding not in ("", "identity")]
    match codings:
        case []:
            return None
        case [coding] if coding in ACCEPTED:
            return BodyDecoder(coding)
        case _:
            raise UnsupportedEncodingError(
                f"Content-Encoding is {given[:_SHOWN_CHARACTERS]!r}; expected"
                f" {' or '.join(ACCEPTED)}, once, or an uncompressed body without the header"
            )


def _deflate_kind(data: bytes) -> int:
    """HTTP's deflate has zlib's two bytes in front (RFC 9110, 8.4.1.2); some clients leave them."""
    is_zlib = data[0] & 0x0F == zlib.DEFLATED and int.from_bytes(data[:2], "big") % 31 == 0
    return _ZLIB if is_zlib else _RAW_DEFLATE
