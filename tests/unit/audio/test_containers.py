"""A container is detected by its bytes; other kinds of files are named in the error."""

import os

import pytest

from mt3_model.audio.file_views import FileWindow
from mt3_model.audio.structure import containers
from mt3_model.errors import AudioFormatError
from tests.unit.audio.encoded_recordings import KINDS, id3_tag, write_kind

EXPECTED = {
    "wav": "wav", "wav_u8": "wav", "wav_24": "wav", "wav_32": "wav", "wav_float": "wav",
    "wav_double": "wav", "wav_adpcm": "wav", "wavex": "wav", "rf64": "wav", "w64": "w64",
    "aiff": "aiff", "au": "au", "caf": "caf", "flac": "flac", "ogg": "ogg", "opus": "ogg",
    "mp3": "mp3", "m4a": "mp4", "m4a_faststart": "mp4", "m4a_alac": "mp4", "mp4": "mp4",
    "aac": "aac", "webm": "matroska", "mkv": "matroska", "mp2_ts": "mpegts", "avi": "avi",
}  # fmt: skip


def sniff(path) -> str:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        return containers.sniff_container(FileWindow(descriptor)).name
    finally:
        os.close(descriptor)


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_is_detected_under_any_name(tmp_path, kind):
    assert sniff(write_kind(tmp_path / "notes.txt", kind)) == EXPECTED[kind]


@pytest.mark.parametrize("kind", ["mp3", "flac", "aac"])
def test_a_tag_with_a_cover_picture_does_not_hide_the_kind(tmp_path, kind):
    path = write_kind(tmp_path / "song", kind)
    path.write_bytes(id3_tag(b"\x89PNG" + bytes(100_000)) + path.read_bytes())
    assert sniff(path) == kind


@pytest.mark.parametrize(
    ("content", "name"),
    [
        (b"", "0 bytes"),
        (b"MThd\x00\x00\x00\x06", "MIDI"),
        (b"\x89PNG\r\n\x1a\n", "PNG"),
        (b"\xff\xd8\xff\xe0\x00\x10JFIF", "JPEG"),
        (b"PK\x03\x04\x14\x00", "ZIP"),
        (b"#EXTM3U\n#EXTINF:1,\nother.wav\n", "playlist"),
        (b"ffconcat version 1.0\nfile other.wav\n", "playlist"),
        (b"Dear all,\nplease find attached\n", "text"),
        (bytes(range(128, 256)), "80 81 82 83"),
    ],
)
def test_other_kinds_of_files_are_named(tmp_path, content, name):
    path = tmp_path / "song.wav"
    path.write_bytes(content)
    with pytest.raises(AudioFormatError, match=name):
        sniff(path)
