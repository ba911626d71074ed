"""The decoding processes of this process."""

import contextlib

import psutil


def decoders():
    """Ids of the decoding processes of this one."""
    found = []
    for child in psutil.Process().children():
        with contextlib.suppress(psutil.NoSuchProcess):  # it has just ended
            if "mt3_model.audio.reading_process" in child.cmdline():
                found.append(child.pid)
    return found
