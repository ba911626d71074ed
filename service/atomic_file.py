"""Write files so that a reader gets the old content or the new, never part of it."""

import contextlib
import os
import secrets
import stat
from pathlib import Path


def write_atomically(
    target: Path, content: bytes, *, mode: int = 0o666, like: os.stat_result | None = None
) -> None:
    """Write a temporary file in the same folder, and rename it to ``target``.

    Args:
        target: the file to write or replace; a symbolic link is kept, and its target replaced.
        content: the whole content.
        mode: permissions of a new file, before the umask.
        like: status of a file whose owner and permissions the new one takes; None: ``mode``.
    """
    target = target.resolve()
    # Not derived from the target's name, which may have the maximum length.
    partial = target.with_name(f".mt3-{secrets.token_hex(6)}.partial")
    try:
        descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            if like is not None:
                with contextlib.suppress(PermissionError):
                    os.fchown(file.fileno(), like.st_uid, like.st_gid)
                os.fchmod(file.fileno(), stat.S_IMODE(like.st_mode))
            file.flush()
            os.fsync(file.fileno())
        partial.replace(target)
    finally:
        partial.unlink(missing_ok=True)
