"""Results -> files, whole or not at all; and what can be said of a file before it is written."""

import os
import secrets
import sys
from pathlib import Path

MAX_NAME_BYTES = 255
"""Of a file's name, on nearly every file system."""


class OutputError(OSError):
    """A result cannot be written; the message names the output and the reason."""

    def __init__(self, target: Path | None, reason: str) -> None:
        super().__init__(f"{describe_target(target)}: {reason}")


def describe_target(target: Path | None) -> str:
    """Names an output in a message; None is standard output."""
    return "standard output" if target is None else str(target)


def is_there(target: Path | None) -> bool:
    """Whether a result lies under its name already.

    Results are renamed into place when they are whole, and none is empty: an empty file is one
    that something else made, or that a power cut left.
    """
    return target is not None and target.is_file() and target.stat().st_size > 0


def require_writable(target: Path | None) -> None:
    """Finds out before the work whether its result could be written.

    Raises:
        OutputError: A folder or a file is in the way, or the folder is not ours to write in.
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
    if not os.access(folder, os.W_OK | os.X_OK) and not _is_device(target):
        raise OutputError(target, f"cannot be written: no permission to write in {folder}")


def write_whole(content: bytes, target: Path | None) -> None:
    """Writes a result: beside its name and then renamed, so that a file under the name is whole.

    Standard output, pipes and devices have no name to rename to and are written straight.

    Raises:
        OutputError: It cannot be written.
    """
    try:
        if target is None:
            sys.stdout.buffer.write(content)
            sys.stdout.buffer.flush()
        elif _is_device(target):
            target.write_bytes(content)
        else:
            _write_beside(content, target)
    except OSError as error:
        raise OutputError(target, f"cannot be written: {error.strerror or error}") from error


def _write_beside(content: bytes, target: Path) -> None:
    if target.is_symlink():
        target = target.resolve()  # a link stays a link
    target.parent.mkdir(parents=True, exist_ok=True)
    # A short name of its own: the target's name may be as long as names can be.
    partial = target.with_name(f".mt3-{secrets.token_hex(6)}.partial")
    try:
        partial.write_bytes(content)
        partial.replace(target)
    finally:
        partial.unlink(missing_ok=True)


def _is_device(target: Path) -> bool:
    return target.exists() and not target.is_file() and not target.is_dir()
