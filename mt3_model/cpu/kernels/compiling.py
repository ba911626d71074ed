"""Python functions that numba compiles to programs of one CPU core, without Python's lock.

Only what its subset of Python allows: loops over arrays, addresses as integers. bfloat16 comes as
uint16 and is the upper half of a float32. What no loop makes the compiler do is written in LLVM's
language (`vectors.py`).

What Python calls is compiled for one signature as soon as its module is imported, and kept by numba
beside the module or in the user's cache. numba looks it up by the age of that one file; the
digest of all of them, which is made part of its name, is what makes a changed one be compiled anew.
"""

# numba's decorators are beyond type checkers.
# pyright: reportCallIssue=false, reportPrivateImportUsage=false

import functools
import hashlib
import inspect
from pathlib import Path
from typing import Any

import numba
from numba.extending import intrinsic as numba_intrinsic

EXACT = frozenset({"reassoc", "contract", "nsz", "arcp"})
"""Sums may be reordered, but what is no number stays none: the pools of slots look for it."""


def compiled(signature: str | None = None, **options: Any) -> Any:
    """`numba.njit` of the function as it is written.

    The test run wraps all functions of this package to check their arguments' shapes, in a way
    that numba cannot compile.

    Args:
        signature: Of what Python calls: compiled at once (seconds), and kept between runs where any
            folder can be written. What has none is compiled into its callers.
        options: Of numba.
    """
    options = {"fastmath": set(EXACT), "error_model": "numpy", "nogil": True, **options}

    def compile_function(function: Any) -> Any:
        function = inspect.unwrap(function)
        if signature is None:
            return numba.njit(**options)(function)
        function.__qualname__ += "_" + _digest(Path(inspect.getfile(function)))
        try:
            return numba.njit(signature, cache=True, **options)(function)
        except RuntimeError:  # numba found no folder: it compiles at every start
            return numba.njit(signature, **options)(function)

    return compile_function


def intrinsic(function: Any) -> Any:
    """`numba.extending.intrinsic` of the function as it is written."""
    return numba_intrinsic(inspect.unwrap(function))


@functools.cache
def _digest(file: Path) -> str:
    """Of the sources that may be part of a function of this file."""
    sources = sorted({*Path(__file__).parent.glob("*.py"), file})
    return hashlib.sha256(b"".join(source.read_bytes() for source in sources)).hexdigest()[:16]
