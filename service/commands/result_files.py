"""Write results to files, each completely or not at all; check targets before the work begins."""

import os
import sys
from pathlib import Path

from service.atomic_file import write_atomically

MAX_NAME_BYTES = 255
"""Longest file name on nearly every file system."""


class OutputError(OSError):
    """A result cannot be written."""

    def __init__(self, target: Path | None, reason: str) -> None:
        super().__init__(f"{describe_target(target)}: {reason}")


def describe_target(target: Path | None) -> str:
    """Return an output's name for messages; None is standard output."""
    return "standard output" if target is None else str(target)


def is_complete(target: Path | None) -> bool:
    """Whether a result exists already.

    Results are renamed into place when they are complete, and none is empty: an empty file comes
    from another program or a power cut.
    """
    return target is not None and target.is_file() and target.stat().st_size > 0


def require_writable(target: Path | None) -> None:
    """Check, before the work begins, that a result can be written.

    Raises:
        OutputError: a folder or a file is in the way, or the folder is not writable.
    """
    if target is None:
        return
    if target.is_dir():
        raise OutputError(target, "is a folder; expected the name of a file")
    folder = target.parent
    while not os.path.lexists(folder):
        folder = folder.parent
    if not folder.is_dir():
        raise OutputError(target, f"cannot be written: {folder} is not a folder")
    if not os.access(folder, os.W_OK | os.X_OK) and not is_device(target):
        raise OutputError(target, f"cannot be written: no permission to write in {folder}")


def write_whole(content: bytes, target: Path | None) -> None:
    """Write a result atomically: to a temporary name in the same folder, then renamed.

    Standard output, pipes and devices are written directly.

    Raises:
        OutputError: the result cannot be written.
    """
    try:
        if target is None:
            sys.stdout.buffer.write(content)
            sys.stdout.buffer.flush()
        elif is_device(target):
            target.write_bytes(content)
        else:
            target.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(target, content)
    except OSError as error:
        raise OutputError(target, f"cannot be written: {error.strerror or error}") from error


def is_device(target: Path) -> bool:
    """Return whether a path is a pipe or device."""
    return target.exists() and not target.is_file() and not target.is_dir()
