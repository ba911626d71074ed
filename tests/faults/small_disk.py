"""A small file system that fills up, for tests of full disks."""

import contextlib
import subprocess


@contextlib.contextmanager
def small_disk(folder, size="256k"):
    """A small file system where one may be mounted; gives whether it is real.

    Elsewhere the same call that would hit its end, the write of a result to the disk, says so.
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
