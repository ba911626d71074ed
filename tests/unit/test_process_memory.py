"""Freed memory goes back to the system, and threads share arenas."""

import ctypes
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

from mt3_model.process_memory import return_freed_memory

ARRAYS = 1_000
ARRAY_BYTES = 64 << 10

pytestmark = pytest.mark.skipif(
    not hasattr(ctypes.CDLL(None), "malloc_trim"), reason="needs glibc on Linux"
)


def resident_bytes():
    lines = Path("/proc/self/status").read_text().splitlines()
    (kibibytes,) = [line.split()[1] for line in lines if line.startswith("RssAnon:")]
    return int(kibibytes) << 10


def test_memory_that_a_thread_has_freed_returns_to_the_system():
    arrays = []

    def fill():
        arrays.extend(np.ones(ARRAY_BYTES, np.uint8) for _ in range(ARRAYS))

    thread = threading.Thread(target=fill)
    thread.start()
    thread.join()
    del arrays[:-1]  # the last one holds the memory below it in glibc's heap
    before = resident_bytes()
    return_freed_memory()
    assert resident_bytes() < before - ARRAYS * ARRAY_BYTES // 2


def count_arenas(setting):
    """Count the arenas of a process in which eight threads have allocated at the same time."""
    program = (
        "import ctypes, threading\n"
        "from mt3_model.process_memory import limit_arenas\n"
        f"{setting}\n"
        "barrier = threading.Barrier(9)\n"
        "def hold():\n"
        "    held = bytearray(10_000)\n"
        "    barrier.wait()\n"
        "    barrier.wait()\n"
        "threads = [threading.Thread(target=hold) for _ in range(8)]\n"
        "for thread in threads: thread.start()\n"
        "barrier.wait()\n"
        "ctypes.CDLL(None).malloc_stats()\n"
        "barrier.wait()\n"
        "for thread in threads: thread.join()\n"
    )
    ended = subprocess.run(
        [sys.executable, "-c", program], check=True, capture_output=True, text=True
    )
    return ended.stderr.count("Arena ")


def test_threads_share_as_many_arenas_as_are_allowed():
    assert count_arenas("") > 2
    assert count_arenas("limit_arenas(2)") == 2
