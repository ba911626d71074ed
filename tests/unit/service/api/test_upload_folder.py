"""The folder of a process's recordings: created when needed, removed when its process is dead."""

import fcntl
import os
import subprocess
import sys

import pytest

from service.api.uploads.upload_folder import UploadFolder

HOLDER = """
import pathlib, signal, sys
from service.api.uploads.upload_folder import UploadFolder
path, file = UploadFolder(pathlib.Path(sys.argv[1])).new_file()
file.write(b"sound"); file.flush()
print(path, flush=True)
signal.pause()
"""


@pytest.fixture
def holder(tmp_path):
    """Run another process with a recording; kill it at the end."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(tmp_path)], stdout=subprocess.PIPE, text=True
    )
    process.stdout.readline()
    yield process
    process.kill()
    process.wait()
    process.stdout.close()


def test_the_folder_is_created_with_the_first_file_and_removed_with_the_last(tmp_path):
    folder = UploadFolder(tmp_path)
    assert list(tmp_path.iterdir()) == []
    files = [folder.new_file() for _ in range(2)]
    (made,) = tmp_path.iterdir()
    assert made.name.startswith(f"mt3-uploads-{os.getpid()}-")
    assert made.stat().st_mode & 0o777 == 0o700
    for path, file in files:
        assert path.parent == made
        file.close()
        folder.remove(path)
    assert list(tmp_path.iterdir()) == []


def test_the_folder_is_created_again(tmp_path):
    folder = UploadFolder(tmp_path)
    for _ in range(2):
        path, file = folder.new_file()
        file.close()
        folder.remove(path)
    assert list(tmp_path.iterdir()) == []


def test_the_folder_of_a_dead_process_is_swept_and_that_of_a_living_one_is_not(tmp_path, holder):
    folder = UploadFolder(tmp_path)
    path, file = folder.new_file()
    assert folder.sweep() == 0
    assert len(list(tmp_path.iterdir())) == 2
    holder.kill()
    holder.wait()
    assert folder.sweep() == 1
    assert list(tmp_path.iterdir()) == [path.parent]
    assert path.exists()
    file.close()
    folder.remove(path)


def test_other_folders_are_not_swept(tmp_path):
    theirs = tmp_path / "theirs"
    theirs.mkdir()
    (theirs / "song.wav").touch()
    (tmp_path / "mt3-uploads-12-abcdefgh").symlink_to(theirs)
    (tmp_path / "mt3-uploads-13-abcdefgh").touch()  # a file
    for name in ("mt3-uploads-x-abcdefgh", "mt3-uploads-12-abcdefgh.bak", "mt3-uploads-12-a"):
        (tmp_path / name).mkdir()
    before = sorted(tmp_path.iterdir())
    assert UploadFolder(tmp_path).sweep() == 0
    assert sorted(tmp_path.iterdir()) == before
    assert (theirs / "song.wav").exists()


def test_another_users_folder_is_not_swept(tmp_path, monkeypatch):
    (tmp_path / "mt3-uploads-12-abcdefgh").mkdir()
    monkeypatch.setattr(os, "getuid", lambda: tmp_path.stat().st_uid + 1)
    assert UploadFolder(tmp_path).sweep() == 0
    monkeypatch.undo()
    assert UploadFolder(tmp_path).sweep() == 1


def test_a_missing_parent_folder_does_not_prevent_the_start(tmp_path):
    assert UploadFolder(tmp_path / "missing").sweep() == 0


def test_a_folder_swept_by_another_server_is_created_again(tmp_path, monkeypatch):
    locked = []
    flock = fcntl.flock

    def swept_at_first(descriptor, operation):
        inode = os.fstat(descriptor).st_ino
        (folder,) = (path for path in tmp_path.iterdir() if path.stat().st_ino == inode)
        locked.append(folder)
        if len(locked) == 1:
            raise BlockingIOError
        if len(locked) == 2:
            folder.rmdir()
        flock(descriptor, operation)

    monkeypatch.setattr(fcntl, "flock", swept_at_first)
    path, file = UploadFolder(tmp_path).new_file()
    file.close()
    assert len(locked) == 3
    assert path.parent == locked[2]


def test_a_file_system_without_locks_is_usable(tmp_path, monkeypatch):
    def refuse(descriptor, operation):
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr(fcntl, "flock", refuse)
    folder = UploadFolder(tmp_path)
    path, file = folder.new_file()
    file.close()
    assert folder.sweep() == 0
    folder.remove(path)
    assert list(tmp_path.iterdir()) == []
