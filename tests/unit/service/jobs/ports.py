"""Ports for servers that are restarted on the same port.

A port that the system chose (for port 0) may be given to another process as soon as it is free.
These ports are below those (32,768 and up on Linux), and each process of a test run has a thousand
of its own, each used once.
"""

import itertools
import os
import random
import socket

_FIRST = 20_000
_OF_A_PROCESS = 1_000
_PROCESSES = 12


def _offered():
    number = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")) % _PROCESSES
    first = _FIRST + number * _OF_A_PROCESS
    # The first one is random, because another test run on this machine has the same thousand.
    begun = random.Random().randrange(_OF_A_PROCESS)
    return (first + (begun + n) % _OF_A_PROCESS for n in itertools.count())


_ports = _offered()


def free_port():
    """Return a port on which no process listens on the loopback."""
    for port in itertools.islice(_ports, _OF_A_PROCESS):
        with socket.socket() as tried:
            try:
                tried.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise AssertionError("no port is free")
