"""Parse a form in pieces: same fields and file as in one piece, or a refusal.

An input is a byte with the size of the pieces (0 means 1), the Content-Type up to a line feed, and
the body.
"""

import dataclasses
import logging

from python_multipart.multipart import parse_options_header

from mt3_model.errors import MT3Error
from service.api.uploads import multipart
from service.errors import ServiceError
from tests.fuzz.targets.fuzzing import Violation, fuzz

logging.getLogger("python_multipart").setLevel(logging.CRITICAL)  # it logs each bad byte
MODULES = (multipart,)
_TYPE = b"multipart/form-data; boundary="


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Received:
    """The result of parsing a body."""

    fields: tuple[tuple[str, str], ...] = ()
    recording: bytes = b""
    refusal: str | None = None


def seeds() -> list[bytes]:
    """Return forms, whole and slightly damaged."""
    part = b'--B\r\nContent-Disposition: form-data; name="file"; filename="a.wav"\r\n\r\nRIFF\r\n'
    field = b"--B\r\nContent-Disposition: form-data; name=start\r\n\r\n1\r\n"
    return [
        b"\x00" + _TYPE + b"B\n" + part + b"--B--\r\n",
        b"\x01" + _TYPE + b'"B"\n' + field + part + b"--B--\r\n",
        b"\x07" + _TYPE + b"B; charset=utf-8\n" + part + field + b"--B--",
        b"\x03" + _TYPE + b"B\n" + part + part + b"--B--\r\n",
        b"\x05" + _TYPE + b"B\npreamble\r\n" + field + b"--B--\r\nepilogue",
        b"\x02" + _TYPE + b"B\n" + part[:-6] + b"\r\n--B\r\n--Bx\r\n\r\n--B--\r\n",
        b"\x04" + _TYPE + b"\n--\r\n\r\n----\r\n",
    ]


def receive(content_type: bytes, pieces: list[bytes]) -> Received:
    """Pass the pieces to a receiver, as an upload does."""
    written = bytearray()
    try:
        _, parameters = parse_options_header(content_type)
        boundary = parameters.get(b"boundary", b"")
        if not boundary:
            return Received(refusal="no boundary")
        receiver = multipart.MultipartReceiver(boundary, written.extend)
        for piece in pieces:
            receiver.feed(piece)
        receiver.finish()
    except (ServiceError, MT3Error) as error:
        return Received(refusal=type(error).__name__)
    return Received(fields=tuple(receiver.fields), recording=bytes(written))


def check(data: bytes) -> None:
    """Check that the result does not depend on the pieces."""
    size = data[0] if data else 0
    content_type, _, body = data[1:].partition(b"\n")
    width = max(size, 1)
    cut = [body[at : at + width] for at in range(0, len(body), width)]
    whole, pieces = receive(content_type, [body]), receive(content_type, cut)
    if whole != pieces:
        raise Violation(f"in one piece {whole}, in pieces of {width} {pieces}")


if __name__ == "__main__":
    fuzz(check, seeds(), MODULES)
