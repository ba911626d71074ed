"""A lock file that processes take turns at, and that a killed process lets go of by itself.

The lock is the operating system's on an open file, not the file's existence: nothing has to be
cleaned up after a crash. The file stays; removing it would let two processes lock two files of
one name.
"""

import contextlib
import sys
import time
from collections.abc import Generator
from pathlib import Path
from typing import IO

from mt3_model.errors import DownloadError, DownloadInterruptedError

if sys.platform == "win32":
    import msvcrt

    def _try_lock(stream: IO[bytes]) -> None:
        msvcrt.locking(stream.fileno(), msvcrt.LK_NBLCK, 1)
else:
    import fcntl

    def _try_lock(stream: IO[bytes]) -> None:
        fcntl.flock(stream.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)


_POLL_SECONDS = 0.2


@contextlib.contextmanager
def folder_lock(file: Path, timeout_seconds: float) -> Generator[None]:
    """Holds the lock while the body runs; waits for another process, up to the timeout.

    Raises:
        DownloadError: The other process did not finish in time, or the file cannot be opened.
    """
    try:
        stream = file.open("ab")
    except OSError as error:
        raise DownloadError(
            f"{file} cannot be opened ({error}); choose a folder that can be written"
        ) from error
    with stream:
        deadline = time.monotonic() + timeout_seconds
        while True:
            try:
                _try_lock(stream)
                break
            except OSError as error:
                if time.monotonic() >= deadline:
                    raise DownloadInterruptedError(
                        f"{file} is held by another download for more than "
                        f"{timeout_seconds:.0f} s. Wait for it, or end it"
                    ) from error
                time.sleep(_POLL_SECONDS)
        yield
