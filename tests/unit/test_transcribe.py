"""Loading a model for use without a server."""

import ctypes
import threading
from pathlib import Path

import numpy as np
import pytest

from mt3_model.transcribe import return_freed_memory

ARRAYS = 1_000
ARRAY_BYTES = 64 << 10


def resident_bytes():
    lines = Path("/proc/self/status").read_text().splitlines()
    (kibibytes,) = [line.split()[1] for line in lines if line.startswith("RssAnon:")]
    return int(kibibytes) << 10


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "malloc_trim"), reason="needs glibc on Linux")
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
