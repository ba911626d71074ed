"""Forms: streamed, announced to the byte, the same each time, and one file open at a time."""

import io
from pathlib import Path

import pytest

from service.client._uploads import Form, JSONBody, named_recordings


def sent(body):
    return b"".join(body.chunks())


def test_a_form_is_as_long_as_it_says_and_the_same_each_time(tmp_path):
    (tmp_path / "a").write_bytes(bytes(100_000))
    form = Form([tmp_path / "a", b"b", io.BytesIO(b"c")], [("x", "ü")], seed="1")
    assert len(sent(form)) == form.length
    assert sent(form) == sent(form)
    again = Form([tmp_path / "a", b"b", io.BytesIO(b"c")], [("x", "ü")], seed="1")
    assert (sent(again), again.media_type) == (sent(form), form.media_type)
    assert Form([b"b"], [], seed="2").media_type != form.media_type


def test_a_number_that_json_does_not_have_is_refused():
    with pytest.raises(ValueError, match="JSON"):
        JSONBody({"metadata": {"a": float("inf")}})


def test_small_files_share_chunks_and_large_ones_are_cut():
    form = Form({f"{n}": b"x" * 100 for n in range(1_000)}, [], seed="")
    chunks = list(form.chunks())
    assert len(chunks) < 10
    assert max(map(len, chunks)) < 3 << 16
    chunks = list(Form([bytes(10_000_000)], [], seed="").chunks())
    assert max(map(len, chunks)) < 3 << 16


def test_one_file_is_open_at_a_time(tmp_path):
    paths = [tmp_path / f"{n}.wav" for n in range(300)]
    for path in paths:
        path.write_bytes(b"x")
    form = Form(paths, [], seed="")
    opened = Path("/proc/self/fd")
    before = len(list(opened.iterdir()))
    assert max(len(list(opened.iterdir())) for _ in form.parts()) <= before + 1


def test_a_file_that_shrinks_is_told_and_one_that_grows_is_sent_as_announced(tmp_path):
    path = tmp_path / "a.wav"
    path.write_bytes(b"12345")
    form = Form([path], [], seed="")
    path.write_bytes(b"1234567")
    assert b"\r\n12345\r\n" in sent(form)
    path.write_bytes(b"123")
    with pytest.raises(
        OSError, match=r"a\.wav became shorter while it was being sent: 3 of 5 bytes"
    ):
        sent(form)


def test_a_pipe_makes_the_length_unknown_and_is_sent_once():
    class Pipe:
        def read(self, _size, /):
            return b""

    form = Form([Pipe(), b"a"], [], seed="")
    assert (form.length, form.can_be_sent) == (None, True)
    sent(form)
    assert not form.can_be_sent


def test_without_its_recordings_a_form_has_its_fields_and_boundary():
    form = Form([b"a"], [("x", "1")], seed="s")
    bare = form.without_recordings()
    assert bare.media_type == form.media_type
    assert b"filename" not in sent(bare)
    assert b'name="x"\r\n\r\n1\r\n' in sent(bare)
    assert (form.has_recordings, bare.has_recordings) == (True, False)
    assert len(sent(bare)) == bare.length


def test_a_name_cannot_break_out_of_its_part():
    form = sent(Form({'a"\r\nX: y\udcff': b"a"}, [], seed=""))
    assert b'filename="a%22%0D%0AX: y?"\r\n' in form


def test_what_things_are_called(tmp_path):
    path = tmp_path / "b.wav"
    path.write_bytes(b"")
    with path.open("rb") as file:
        assert [name for name, _ in named_recordings(["x/a.wav", Path("y/b"), b"", file])] == [
            "a.wav", "b", None, "b.wav",
        ]  # fmt: skip
        assert [name for name, _ in named_recordings(file)] == ["b.wav"]
    with pytest.raises(TypeError):
        named_recordings(3)
    with pytest.raises(TypeError, match="expected a path, bytes or a binary file"):
        Form([3], [], seed="")


def test_a_document_is_sent_again_as_it_was():
    document = JSONBody({"b": 1, "a": "ü"})
    assert sent(document) == sent(document) == '{"a": "ü", "b": 1}'.encode()
    assert document.length == len(sent(document))
    assert document.without_recordings() is document
