"""The decoding processes of this process."""

import contextlib

import psutil


def decoders():
    """Ids of the decoding processes of this one: the children of its fork server."""
    found = []
    for child in psutil.Process().children():
        with contextlib.suppress(psutil.NoSuchProcess):  # it has just ended
            if "mt3_model.audio.fork_server" in child.cmdline():
                found += [decoder.pid for decoder in child.children()]
    return found
