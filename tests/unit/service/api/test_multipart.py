"""Multipart bodies, whole and in pieces, good and bad."""

import pytest

from service.api.uploads.multipart import MAX_FIELD_BYTES, MAX_FIELDS, MultipartReceiver
from service.errors import UploadMalformedError


def part(name, value, *, filename=None):
    disposition = f'form-data; name="{name}"' + (f'; filename="{filename}"' if filename else "")
    return f"--B\r\nContent-Disposition: {disposition}\r\n\r\n".encode() + value + b"\r\n"


def body(*parts):
    return b"".join(parts) + b"--B--\r\n"


def receive(data, piece=None):
    written = bytearray()
    receiver = MultipartReceiver(b"B", written.extend)
    step = piece or max(len(data), 1)
    for start in range(0, len(data), step):
        receiver.feed(data[start : start + step])
    receiver.finish()
    return bytes(written), receiver.fields


@pytest.mark.parametrize("piece", [None, 1, 7])
def test_file_and_fields_are_told_apart_however_the_bytes_arrive(piece):
    data = body(
        part("start", b"1"), part("file", b"\r\n--sound\x00\xff", filename="a.wav"),
        part("end", "ü".encode()),
    )  # fmt: skip
    assert receive(data, piece) == (b"\r\n--sound\x00\xff", [("start", "1"), ("end", "ü")])


def test_the_file_needs_no_file_name():
    assert receive(body(part("file", b"abc")))[0] == b"abc"


@pytest.mark.parametrize(
    ("sent", "name"),
    [
        ("Blue (12%22 Mix).ogg", 'Blue (12" Mix).ogg'),
        ("two%0D%0Alines.ogg", "two\r\nlines.ogg"),
        ("100%25 %C3%BC %2f.ogg", "100%25 %C3%BC %2f.ogg"),
    ],
)
def test_only_what_browsers_escape_in_a_file_name_is_read_back(sent, name):
    names = []
    receiver = MultipartReceiver(b"B", lambda _: None, begin_file=names.append)
    receiver.feed(body(part("file", b"abc", filename=sent)))
    assert names == [name]


def test_a_part_of_another_name_is_a_field_even_with_a_file_name():
    _, fields = receive(body(part("audio", b"abc", filename="x.wav"), part("file", b"a")))
    assert fields == [("audio", "abc")]


@pytest.mark.parametrize(
    ("data", "found"),
    [
        (b"", "ends before its closing boundary"),
        (b"no form at all", "boundary"),
        (part("file", b"abc"), "ends before its closing boundary"),
        (body(part("start", b"1")), "no part named 'file' .it has start"),
        (body(part("file", b"a"), part("file", b"b")), "two parts named 'file'"),
        (b"--B\r\nX: y\r\n\r\nabc\r\n--B--\r\n", "no name"),
        (body(part("start", b"1" * (MAX_FIELD_BYTES + 1)), part("file", b"a")), "more than 65,536"),
        (body(*[part("a", b"")] * (MAX_FIELDS + 1), part("file", b"a")), "more than 64 fields"),
        (b"--B\r\nContent-Disposition form-data\r\n\r\nabc\r\n--B--\r\n", "cannot be used"),
    ],
)
def test_a_bad_form_is_refused_with_its_fault(data, found):
    with pytest.raises(UploadMalformedError, match=found):
        receive(data)


def test_an_overlong_boundary_is_refused():
    with pytest.raises(UploadMalformedError):
        MultipartReceiver(b"B" * 300, bytearray().extend)
