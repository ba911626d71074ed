"""A recording in chunks: from the beginning at each attempt, of the announced length, not read
ahead."""

import io
import os
import tempfile
import threading

import pytest

from service.client._io import async_chunks
from service.client._uploads import Upload

SOUND = bytes(range(256)) * 1_000


def sent(upload):
    return b"".join(upload.chunks())


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_bytes_are_sent_as_often_as_it_takes(kind):
    upload = Upload(kind(SOUND))
    assert upload.length == len(SOUND)
    assert sent(upload) == sent(upload) == SOUND
    assert upload.can_be_sent


def test_a_path_is_opened_for_each_attempt(tmp_path):
    path = tmp_path / "a.wav"
    path.write_bytes(SOUND)
    upload = Upload(str(path))
    first = upload.chunks()
    next(first)
    assert sent(upload) == SOUND
    first.close()
    assert upload.length == len(SOUND)


@pytest.mark.parametrize("make", [io.BytesIO, tempfile.TemporaryFile, tempfile.NamedTemporaryFile])
def test_an_open_file_is_sent_from_where_it_stood(make):
    with make() as file:
        file.write(SOUND)
        file.seek(10)
        upload = Upload(file)
        assert upload.length == len(SOUND) - 10
        assert sent(upload) == sent(upload) == SOUND[10:]


def test_a_pipe_is_sent_once():
    reading, writing = os.pipe()
    with os.fdopen(reading, "rb") as file:
        os.write(writing, b"abc")
        os.close(writing)
        upload = Upload(file)
        assert (upload.length, upload.can_be_sent) == (None, True)
        assert sent(upload) == b"abc"
        assert not upload.can_be_sent


def test_a_pipe_named_by_a_path_is_opened_and_sent_once(tmp_path):
    path = tmp_path / "fifo"
    os.mkfifo(path)
    upload = Upload(path)

    def fill():
        path.write_bytes(SOUND)

    thread = threading.Thread(target=fill)
    thread.start()
    assert sent(upload) == SOUND
    thread.join()
    assert (upload.length, upload.can_be_sent) == (None, False)


def test_a_folder_is_refused(tmp_path):
    with pytest.raises(IsADirectoryError):
        Upload(tmp_path)


def test_a_file_that_grows_is_sent_as_long_as_announced(tmp_path):
    path = tmp_path / "a.wav"
    path.write_bytes(SOUND)
    upload = Upload(path)
    with path.open("ab") as file:
        file.write(b"more")
    assert sent(upload) == SOUND


def test_chunks_are_read_as_they_are_asked_for():
    class Counted(io.BytesIO):
        read_bytes = 0

        def read(self, size=-1):
            data = super().read(size)
            self.read_bytes += len(data)
            return data

    file = Counted(bytes(10_000_000))
    chunks = Upload(file).chunks()
    next(chunks)
    next(chunks)
    assert file.read_bytes <= 2 << 16
    chunks.close()


def test_what_cannot_be_sent_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError):
        Upload(tmp_path / "none.wav")
    with pytest.raises(TypeError, match="the recording is int; expected a path, bytes or"):
        Upload(3)
    with pytest.raises(TypeError, match="binary mode"):
        sent(Upload(io.StringIO("text")))


async def test_chunks_read_in_a_thread_are_the_same():
    assert b"".join([chunk async for chunk in async_chunks(Upload(SOUND))]) == SOUND
