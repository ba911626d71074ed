"""A small file system that fills up, for tests of full disks."""

import contextlib
import subprocess


@contextlib.contextmanager
def small_disk(folder, size="256k"):
    """Mount a small file system where that is allowed; yield whether it is real. Elsewhere the call
    that would fill it, the write of a result, raises the same error.
    """
    folder.mkdir(exist_ok=True)
    command = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)]
    try:
        mounted = subprocess.run(command, capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        mounted = False
    try:
        yield mounted
    finally:
        if mounted:
            subprocess.run(["umount", "-l", str(folder)], check=True)
