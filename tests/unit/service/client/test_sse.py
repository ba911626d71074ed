"""Bytes to messages: the format's rules, and any cutting."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.client._errors import UnexpectedAnswerError
from service.client._sse import MAX_MESSAGE_CHARACTERS, EventStreamParser, Message


def parse(*pieces):
    parser = EventStreamParser()
    return [message for piece in pieces for message in parser.feed(piece)]


def test_a_message():
    assert parse(b"id: 3\nevent: note\ndata: {}\n\n") == [Message(kind="note", data="{}", id="3")]


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_lines_end_in_any_of_three_ways(end):
    text = end.join(["retry: 5", "", "id:1", "data:a", "data: b", "", "id: 2", "data", "", "x"])
    assert parse(text.encode()) == [
        Message(kind="message", data="a\nb", id="1"), Message(kind="message", data="", id="2"),
    ]  # fmt: skip


def test_a_carriage_return_at_the_end_waits_for_its_line_feed():
    assert parse(b"data: a\r", b"\n\r", b"\ndata: b\r\n\r\n") == parse(b"data: a\n\ndata: b\n\n")


def test_comments_unknown_fields_and_messages_without_data_are_passed_over():
    assert parse(b": heartbeat\n\nfoo: bar\nid: 1\nevent: x\n\n\n") == []


def test_a_message_without_its_empty_line_is_none():
    assert parse(b"id: 1\ndata: {}\n") == []


def test_a_byte_order_mark_is_no_part_of_the_first_field():
    assert parse(b"\xef\xbb\xbfdata: a\n\n")[0].data == "a"


def test_an_id_with_a_nul_is_none():
    assert parse(b"id: 1\0\ndata: a\n\n")[0].id is None


def test_the_wait_is_read():
    parser = EventStreamParser()
    parser.feed(b"retry: 1500\nretry: soon\n\n")
    assert parser.retry_seconds == 1.5


@given(st.data())
def test_any_cutting_gives_the_same(data):
    text = "id: 1\r\nevent: note\ndata: ä–𝄞\r\rdata: x\n\nid: 2\ndata: y\n\n".encode()
    cuts = sorted(data.draw(st.sets(st.integers(0, len(text)))))
    borders = [0, *cuts, len(text)]
    pieces = [text[a:b] for a, b in itertools.pairwise(borders)]
    assert parse(*pieces) == parse(text)
    assert parse(text)[0].data == "ä–𝄞"


@given(st.binary())
def test_no_bytes_break_it(data):
    parse(data)


@pytest.mark.parametrize("text", [b"x" * 1_000, b"data: " + b"x" * 1_000 + b"\n"])
def test_a_message_without_end_is_refused(text):
    with pytest.raises(UnexpectedAnswerError, match="characters"):
        parse(*[text] * (MAX_MESSAGE_CHARACTERS // 1_000 + 1))
