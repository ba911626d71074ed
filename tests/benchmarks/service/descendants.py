"""Processor seconds of the processes below this one."""

import contextlib

import psutil


def seconds_of_descendants() -> float:
    """Return the processor seconds of all processes below this one, ended ones included."""
    own = psutil.Process()
    seconds = own.cpu_times().children_user + own.cpu_times().children_system
    for process in own.children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess):  # it has just ended
            seconds += sum(process.cpu_times()[:4])
    return seconds
