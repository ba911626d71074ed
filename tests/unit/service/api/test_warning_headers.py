"""The headers with the warnings of a transcription."""

import json

from mt3_model.notes.transcription import TranscriptionWarning
from service.api.warning_headers import (
    CODES_HEADER,
    DETAILS_HEADER,
    MAX_HEADER_CHARACTERS,
    warning_headers,
)
from service.client._warnings import read_warnings


def warning(code="truncated_audio", message="cut – short", **fields):
    return TranscriptionWarning(code=code, message=message, **fields)


def test_without_warnings_there_are_no_headers():
    assert warning_headers([]) == {}


def test_a_code_is_there_once_and_every_warning_in_full():
    headers = warning_headers(
        [warning(start=3.5), warning(start=9.0, end=10.0), warning("no_notes", "none\nfound")]
    )
    assert headers[CODES_HEADER] == "truncated_audio, no_notes"
    assert headers[DETAILS_HEADER].isascii()
    assert headers[DETAILS_HEADER].isprintable()
    assert json.loads(headers[DETAILS_HEADER]) == [
        {"code": "truncated_audio", "message": "cut – short", "start": 3.5, "end": None},
        {"code": "truncated_audio", "message": "cut – short", "start": 9.0, "end": 10.0},
        {"code": "no_notes", "message": "none\nfound", "start": None, "end": None},
    ]


def test_many_warnings_do_not_make_a_header_that_proxies_refuse():
    headers = warning_headers(warning(f"code_{n}") for n in range(1_000))
    assert all(len(value) <= MAX_HEADER_CHARACTERS for value in headers.values())
    assert 1 < len(json.loads(headers[DETAILS_HEADER])) < len(headers[CODES_HEADER].split(", "))
    long = warning_headers([warning(message="x" * MAX_HEADER_CHARACTERS)])
    assert long == {CODES_HEADER: "truncated_audio"}


def test_a_code_that_a_caller_wrote_adds_no_header():
    codes = ["a\r\nSet-Cookie: b=c", "", "x" * 65, "Größe", "a, b"]
    assert warning_headers(map(warning, codes)) == {}


def test_the_client_reads_what_the_server_writes():
    given = (warning(start=3.5), warning("no_notes", "none found"))
    assert [(w.code, w.message, w.start, w.end) for w in read_warnings(warning_headers(given))] == [
        ("truncated_audio", "cut – short", 3.5, None), ("no_notes", "none found", None, None)
    ]  # fmt: skip


def test_the_client_shows_codes_that_have_no_details():
    headers = warning_headers([warning(), warning("no_notes", "x" * MAX_HEADER_CHARACTERS)])
    assert [w.message for w in read_warnings(headers)] == ["cut – short", "no_notes"]
    for details in ("", "<html>", "{}", "[1]", '[{"code": 1}]'):
        headers = {CODES_HEADER: "no_notes, other", DETAILS_HEADER: details}
        assert [w.message for w in read_warnings(headers)] == ["no_notes", "other"]
    assert read_warnings({}) == ()
