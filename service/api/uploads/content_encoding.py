"""Decompress a request's body according to ``Content-Encoding``.

The output comes in small pieces, however well the input is compressed. Every reader of a body
counts bytes against a limit, so a compression bomb is stopped after one piece.
"""

import zlib
from collections.abc import Iterator

from starlette.datastructures import Headers

from service.errors import UnsupportedEncodingError, UploadEncodingError, UploadTooLargeError

ACCEPTED = ("gzip", "deflate")
"""Value of `Accept-Encoding` in a refusal; ``x-gzip`` is an old name of gzip."""
_PIECE_BYTES = 2**18
_MAX_EXPANSION = 100
"""Largest accepted ratio. PCM with long silences shrinks to about a tenth, rarely much less."""
_FREE_BYTES = 2**24
"""Output up to this size is not held to the ratio."""
_GZIP = 16 + zlib.MAX_WBITS
_ZLIB = zlib.MAX_WBITS
_RAW_DEFLATE = -zlib.MAX_WBITS
_SHOWN_CHARACTERS = 100


class BodyDecoder:
    """Incremental decompressor of one body."""

    def __init__(self, coding: str) -> None:
        """Prepare to decompress.

        Args:
            coding: ``gzip`` or ``deflate``.
        """
        self._coding = coding
        self._decompressor = zlib.decompressobj(_GZIP) if coding == "gzip" else None
        self._pending = b""
        self._received = 0
        self._produced = 0

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Decompress the next received bytes into small pieces.

        Raises:
            UploadEncodingError: The bytes are not in the named coding.
            UploadTooLargeError: The bytes expand by more than the accepted ratio.
        """
        self._received += len(data)
        data = self._pending + data
        self._pending = b""
        try:
            while data:
                if self._decompressor is None:
                    if len(data) == 1:  # not enough to detect the kind of deflate
                        self._pending = data
                        return
                    self._decompressor = zlib.decompressobj(_deflate_kind(data))
                if self._decompressor.eof:
                    if self._coding != "gzip":
                        raise self._malformed("there are bytes after its end")
                    self._decompressor = zlib.decompressobj(_GZIP)  # gzip allows several members
                piece = self._decompressor.decompress(data, _PIECE_BYTES)
                data = self._decompressor.unconsumed_tail or self._decompressor.unused_data
                if piece:
                    yield self._count(piece)
            # Output that did not fit into the last piece and needs no more input.
            while self._decompressor is not None and not self._decompressor.eof:
                piece = self._decompressor.decompress(b"", _PIECE_BYTES)
                if not piece:
                    return
                yield self._count(piece)
        except zlib.error as error:
            raise self._malformed(str(error)) from error

    def finish(self) -> None:
        """Check that the compressed body is complete.

        Raises:
            UploadEncodingError: The body is truncated.
        """
        if self._received and (self._decompressor is None or not self._decompressor.eof):
            raise self._malformed("it ends too early")

    def _count(self, piece: bytes) -> bytes:
        self._produced += len(piece)
        if self._produced > max(_FREE_BYTES, _MAX_EXPANSION * self._received):
            raise UploadTooLargeError(
                f"the {self._coding} body expands to more than {_MAX_EXPANSION} times its size;"
                " send the recording uncompressed, or in a compressed format such as FLAC"
            )
        return piece

    def _malformed(self, found: str) -> UploadEncodingError:
        return UploadEncodingError(
            f"the body is not the {self._coding} that Content-Encoding says it is ({found}); send"
            " all of it, or send it uncompressed and without Content-Encoding"
        )


def find_decoder(headers: Headers) -> BodyDecoder | None:
    """Return the decompressor of a request's body; None for an uncompressed body.

    Raises:
        UnsupportedEncodingError: The coding is not an accepted one, or there are several.
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
    """Detect zlib's two-byte header: part of HTTP's deflate (RFC 9110, 8.4.1.2), often omitted."""
    is_zlib = data[0] & 0x0F == zlib.DEFLATED and int.from_bytes(data[:2], "big") % 31 == 0
    return _ZLIB if is_zlib else _RAW_DEFLATE
