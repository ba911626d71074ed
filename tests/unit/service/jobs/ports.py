"""Ports for servers that must come back on the port they had.

What the system gives out for port 0 is given to somebody else as soon as it is free. These lie
below what Linux gives out (32,768 and up), and each of the processes of a test run has a thousand
of its own, of which it takes none twice.
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
    # Begun anywhere: another run of the tests on this machine has the same thousand.
    begun = random.Random().randrange(_OF_A_PROCESS)
    return (first + (begun + n) % _OF_A_PROCESS for n in itertools.count())


_ports = _offered()


def free_port():
    """One that nobody on the loopback listens on."""
    for port in itertools.islice(_ports, _OF_A_PROCESS):
        with socket.socket() as tried:
            try:
                tried.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise AssertionError("no port is free")
