"""The folder in which one process keeps the recordings it is receiving and transcribing.

It exists while there are any: made with the first, removed with the last. A process that is killed
cannot remove it, so every server sweeps at its start: folders of our name that nobody holds any
more. Held means locked (``flock`` on the folder itself): the kernel gives a lock back when its
process dies, however it dies, and unlike a process id in a name it is never taken for somebody
else's, not even by the only process of a container whose id is always 1.
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
"""The process's id, for people who look, and what `tempfile` adds."""
_logger = logging.getLogger(__name__)


class UploadFolder:
    """Files of one process under a folder of its own. To be used from one event loop."""

    def __init__(self, parent: Path | None) -> None:
        """Prepares; nothing is made yet.

        Args:
            parent: Where the folder comes to lie; absent: the system's temporary folder.
        """
        self._parent = Path(tempfile.gettempdir()) if parent is None else parent
        self._folder: Path | None = None
        self._lock: int | None = None
        self._files = 0

    def require_writable(self) -> None:
        """Refuse a folder in which no recording could lie.

        Raises:
            OptionError: Nothing can be written there.
        """
        try:
            with tempfile.TemporaryFile(dir=self._parent) as file:
                file.write(b"\0")
        except OSError as error:
            reason = error.strerror or str(error)
            raise OptionError(
                "upload_dir",
                f"the folder for uploads, {self._parent}, cannot be written ({reason}); make it, or"
                " name another with MT3_UPLOAD_DIR",
            ) from error

    def sweep(self) -> int:
        """Removes what dead processes left behind.

        Only folders of our name that belong to our user, are no symbolic links, and whose process
        is gone.

        Returns:
            How many folders were removed.
        """
        swept = 0
        try:
            found = [path for path in self._parent.iterdir() if _NAME.fullmatch(path.name)]
        except OSError:  # it is missing or closed to us: uploads will say so
            return 0
        for folder in found:
            with contextlib.suppress(OSError):  # somebody's, or gone meanwhile
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
        """Makes an empty file, open for writing; `remove` must follow.

        Raises:
            OSError: There is no room, or no right to.
        """
        folder = self._make()
        self._files += 1
        try:
            descriptor, name = tempfile.mkstemp(prefix="recording-", dir=folder)
        except BaseException:
            self._let_go()
            raise
        return Path(name), os.fdopen(descriptor, "wb")

    def remove(self, path: Path) -> None:
        """Removes a file made here, and the folder with the last of them."""
        path.unlink(missing_ok=True)
        self._let_go()

    def _make(self) -> Path:
        while self._folder is None:
            folder = Path(tempfile.mkdtemp(prefix=f"{PREFIX}{os.getpid()}-", dir=self._parent))
            try:
                lock = _lock(folder)
            except (BlockingIOError, FileNotFoundError):
                continue  # a server that sweeps at this very moment takes it for a dead one's
            except OSError:  # a file system without locks: nobody sweeps it either
                self._folder = folder
                break
            if folder.exists():
                self._folder, self._lock = folder, lock
            else:  # swept between the two
                os.close(lock)
        return self._folder

    def _let_go(self) -> None:
        self._files -= 1
        if self._files == 0 and self._folder is not None:
            with contextlib.suppress(OSError):
                self._folder.rmdir()
            if self._lock is not None:
                os.close(self._lock)
            self._folder = self._lock = None


def _lock(folder: Path) -> int:
    """Opens a folder, never through a link, and locks it.

    Raises:
        OSError: It is no folder, or a living process holds it.
    """
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor
