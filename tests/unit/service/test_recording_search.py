"""Folders on the command line: the recordings in them, and the messages about other files."""

import os
import shutil

import pytest

from service.commands.recording_search import find_recordings
from tests.unit.service.fake_transcriber import FakeTranscriber, names_in, run, touch

MP3_FRAME = b"\xff\xfb\x90\x00" + bytes(413)
"""MPEG 1 layer III, 128 kbit/s, 44.1 kHz: 417 bytes."""
CONTENTS = {
    "song": b"RIFF\x24\x00\x00\x00WAVEfmt ",
    "take.2": b"fLaC\x00\x00\x00\x22",
    "old.backup": b"OggS\x00\x02",
    "wrong.txt": b"FORM\x00\x00\x00\x00AIFF",
    "cut.bin": b"\xff" * 100 + MP3_FRAME * 40,
    "album.cue": b'FILE "a.wav" WAVE\r\n',
    "latin.cue": 'TITLE "Études"\r\n'.encode("latin-1"),
    "cover.jpg": b"\xff\xd8\xff\xe0\x00\x10JFIF" + MP3_FRAME * 40,
    "free.txt": b"Be freed: a text whose letters are a mark of MP4",
    "scan.pdf": b"%PDF-1.7",
    "empty": b"",
    ".DS_Store": b"\x00\x00\x00\x01Bud1",
    "._song.wav": b"\x00\x05\x16\x07\x00\x02\x00\x00Mac OS X",
    ".kept.wav": b"RIFF\x24\x00\x00\x00WAVEfmt ",
    "a.wav": b"anything",
}


@pytest.fixture
def album(tmp_path):
    folder = tmp_path / "album"
    (folder / ".git").mkdir(parents=True)
    for name, content in CONTENTS.items():
        (folder / name).write_bytes(content)
    (folder / ".git" / "x.wav").write_bytes(CONTENTS["song"])
    os.mkfifo(folder / "pipe.wav")
    return folder


def test_recordings_are_told_by_suffix_or_content(album):
    found = find_recordings([album])
    assert [recording.relative_path.as_posix() for recording in found.recordings] == [
        "a.wav", "cut.bin", "old.backup", "song", "take.2", "wrong.txt",
    ]  # fmt: skip
    assert sorted(path.name for path in found.other_files) == [
        ".DS_Store", "._song.wav", "album.cue", "cover.jpg", "empty", "free.txt", "latin.cue",
        "pipe.wav", "scan.pdf",
    ]  # fmt: skip
    assert sorted(path.name for path in found.hidden) == [".git", ".kept.wav"]


def test_what_was_skipped_is_said(album, tmp_path, capsys):
    assert run(FakeTranscriber(), album, "-o", tmp_path / "out") == 0
    lines = capsys.readouterr().err.splitlines()
    assert lines[0].startswith(
        "mt3: skipped 9 files that are not recordings: .DS_Store, ._song.wav"
    )
    assert "cover.jpg" in lines[0]
    assert lines[1] == "mt3: skipped 2 hidden: .git/, .kept.wav"


def test_results_beside_their_recordings_are_not_said_to_be_skipped(tmp_path, capsys):
    touch(tmp_path, "a.wav", "b.wav")
    for _ in range(2):
        assert run(FakeTranscriber(), tmp_path, "-o", tmp_path) == 0
    assert "skipped 2 files" not in capsys.readouterr().err
    assert names_in(tmp_path) == ["a.mid", "a.wav", "b.mid", "b.wav"]


def test_many_names_are_cut_short(tmp_path):
    touch(tmp_path, "a.wav", *(f"{n:02}.txt" for n in range(14)))
    (line,) = find_recordings([tmp_path]).describe_skipped()
    assert line.startswith("skipped 14 files that are not recordings: 00.txt, ")
    assert line.endswith("09.txt and 4 more")


def test_linked_folders_are_searched_once(tmp_path):
    touch(tmp_path, "in/a.wav", "other/b.wav")
    (tmp_path / "in/linked").symlink_to(tmp_path / "other")
    (tmp_path / "in/loop").symlink_to(tmp_path / "in")
    (tmp_path / "in/dead.wav").symlink_to(tmp_path / "gone.wav")
    found = find_recordings([tmp_path / "in"])
    assert [r.relative_path.as_posix() for r in found.recordings] == ["a.wav", "linked/b.wav"]
    assert [path.name for path in found.other_files] == ["dead.wav"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read anything")
def test_a_folder_that_cannot_be_read_is_a_failure(tmp_path, capsys):
    touch(tmp_path, "in/a.wav", "in/closed/b.wav")
    (tmp_path / "in/closed").chmod(0)
    try:
        assert run(FakeTranscriber(), tmp_path / "in", "-o", tmp_path / "out") == 1
    finally:
        shutil.copymode(tmp_path, tmp_path / "in/closed")
    assert "in/closed: cannot be searched: Permission denied" in capsys.readouterr().err
