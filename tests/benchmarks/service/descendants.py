"""Processor seconds of the processes below another."""

import contextlib

import psutil


def seconds_of_descendants(root: psutil.Process | None = None) -> float:
    """Return the processor seconds of all processes below one, ended ones included.

    Args:
        root: the process above them; by default this one.
    """
    own = root or psutil.Process()
    seconds = own.cpu_times().children_user + own.cpu_times().children_system
    for process in own.children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess):  # it has just ended
            seconds += sum(process.cpu_times()[:4])
    return seconds
