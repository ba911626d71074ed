"""The folder with the recordings that one process receives and transcribes.

It is created with the first recording and removed with the last. A killed process cannot remove its
folder, so every server sweeps at its start and removes the unlocked folders of this name. The lock
is ``flock`` on the folder itself: the kernel releases it when the process dies, however it dies. A
process id in the name would not do: in a container the server's id is always 1.
"""

import contextlib
import fcntl
import logging
import os
import re
import shutil
import tempfile
from pathlib import Path
from typing import BinaryIO

from mt3_model.errors import OptionError
from service.observability.logging import log_event

PREFIX = "mt3-uploads-"
_NAME = re.compile(rf"{PREFIX}\d+-[a-z0-9_]{{8}}")
"""Prefix, process id (to help a person who looks) and the suffix of `tempfile`."""
_logger = logging.getLogger(__name__)


class UploadFolder:
    """Temporary files of one process in a folder of its own. To be used from one event loop."""

    def __init__(self, parent: Path | None) -> None:
        """Choose the parent folder; nothing is created yet.

        Args:
            parent: The parent folder; by default the system's temporary folder.
        """
        self._parent = Path(tempfile.gettempdir()) if parent is None else parent
        self._folder: Path | None = None
        self._lock: int | None = None
        self._files = 0

    def require_writable(self) -> None:
        """Check at start that recordings can be written.

        Raises:
            OptionError: The parent folder is missing or read-only.
        """
        try:
            with tempfile.TemporaryFile(dir=self._parent) as file:
                file.write(b"\0")
        except OSError as error:
            reason = error.strerror or str(error)
            raise OptionError(
                "upload_dir",
                f"the folder for uploads, {self._parent}, cannot be written ({reason}); create it,"
                " or name another with MT3_UPLOAD_DIR",
            ) from error

    def sweep(self) -> int:
        """Remove the folders of dead processes.

        A folder is removed only if its name matches, it belongs to this user, it is not a symbolic
        link and its process is gone.

        Returns:
            Number of folders removed.
        """
        swept = 0
        try:
            found = [path for path in self._parent.iterdir() if _NAME.fullmatch(path.name)]
        except OSError:  # missing or unreadable: the first upload reports it
            return 0
        for folder in found:
            with contextlib.suppress(OSError):  # locked by a living process, or already removed
                lock = _lock(folder)
                try:
                    if os.fstat(lock).st_uid == os.getuid():
                        shutil.rmtree(folder)
                        swept += 1
                finally:
                    os.close(lock)
        if swept:
            log_event(_logger, "uploads_swept", folders=swept)
        return swept

    def new_file(self) -> tuple[Path, BinaryIO]:
        """Create an empty file, open for writing; the caller must `remove` it.

        Raises:
            OSError: The disk is full, or writing is not permitted.
        """
        folder = self._create()
        self._files += 1
        try:
            descriptor, name = tempfile.mkstemp(prefix="recording-", dir=folder)
        except BaseException:
            self._release()
            raise
        return Path(name), os.fdopen(descriptor, "wb")

    def remove(self, path: Path) -> None:
        """Delete a file of this folder, and the folder with its last file."""
        path.unlink(missing_ok=True)
        self._release()

    def _create(self) -> Path:
        while self._folder is None:
            folder = Path(tempfile.mkdtemp(prefix=f"{PREFIX}{os.getpid()}-", dir=self._parent))
            try:
                lock = _lock(folder)
            except (BlockingIOError, FileNotFoundError):
                continue  # another server, sweeping just now, locked it first: try again
            except OSError:  # no locks on this file system, so no sweeping either
                self._folder = folder
                break
            if folder.exists():
                self._folder, self._lock = folder, lock
            else:  # swept before it was locked
                os.close(lock)
        return self._folder

    def _release(self) -> None:
        self._files -= 1
        if self._files == 0 and self._folder is not None:
            with contextlib.suppress(OSError):
                self._folder.rmdir()
            if self._lock is not None:
                os.close(self._lock)
            self._folder = self._lock = None


def _lock(folder: Path) -> int:
    """Open and lock a folder, without following links.

    Raises:
        OSError: It is not a folder, or a living process holds its lock.
    """
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor
