"""Write a file so that its name never refers to a partial file."""

import contextlib
import os
from collections.abc import Generator
from pathlib import Path


@contextlib.contextmanager
def write_atomically(target: Path) -> Generator[Path]:
    """Yield a temporary path beside ``target``, and rename it to ``target`` on success.

    If the body raises an error, the temporary file is removed and ``target`` stays as it was.
    """
    temporary = target.with_name(f"{target.name}.{os.getpid()}.partial")
    try:
        yield temporary
        replace_durably(temporary, target)
    finally:
        temporary.unlink(missing_ok=True)


def replace_durably(temporary: Path, target: Path) -> None:
    """Rename a finished file, after its bytes have reached the disk."""
    with temporary.open("rb+") as stream:
        os.fsync(stream.fileno())
    temporary.replace(target)
