"""Python functions that numba compiles to machine code for one CPU core, without Python's lock.

They use the subset of Python that numba compiles: loops over arrays, addresses as integers.
bfloat16 is stored as uint16, the upper half of a float32. Loops that no compiler vectorizes well
are written in LLVM IR (`vectors.py`).

numba keeps machine code next to the module or in the user's cache. It invalidates an entry by the
age of that one file; the digest of all sources, which is made part of the function's name,
invalidates it when any other file of this folder changes.
"""

# numba's decorators are beyond type checkers.
# pyright: reportCallIssue=false, reportPrivateImportUsage=false

import contextlib
import functools
import hashlib
import inspect
from pathlib import Path
from typing import Any

import numba
from numba.extending import intrinsic as numba_intrinsic

from mt3_model.cpu.kernels.code_cache import CodeCache

EXACT = frozenset({"reassoc", "contract", "nsz", "arcp"})
"""Sums may be reordered, but NaN must stay NaN, because the backends check for it."""


def compiled(**options: Any) -> Any:
    """Return the decorator for a function that is compiled into its callers.

    The test run wraps every function of this package to check the shapes of its arguments; the
    wrapper is removed here, because numba cannot compile it.

    Args:
        options: Further options of `numba.njit`.
    """
    options = {"fastmath": set(EXACT), "error_model": "numpy", "nogil": True, **options}

    def compile_function(function: Any) -> Any:
        return numba.njit(**options)(inspect.unwrap(function))

    return compile_function


def program(**options: Any) -> Any:
    """Return the decorator for a function that Python calls: its machine code is kept on disk.

    Compiling takes seconds, once for each signature: at the first call, or ahead of it with numba's
    ``compile``. Where no folder can be written, it is repeated at every start.

    Args:
        options: Further options of `numba.njit`.
    """

    def compile_function(function: Any) -> Any:
        function = inspect.unwrap(function)
        function.__qualname__ += "_" + _digest(Path(inspect.getfile(function)))
        dispatcher = compiled(**options)(function)
        with contextlib.suppress(RuntimeError):  # numba found no folder
            # numba's option `cache` sets the same attribute to its own class.
            dispatcher._cache = CodeCache(function)  # noqa: SLF001
        return dispatcher

    return compile_function


def intrinsic(function: Any) -> Any:
    """Return `numba.extending.intrinsic` of the function as it is written."""
    return numba_intrinsic(inspect.unwrap(function))


@functools.cache
def _digest(file: Path) -> str:
    """Return a digest of every source that may be compiled into a function of this file."""
    sources = sorted({*Path(__file__).parent.glob("*.py"), file})
    return hashlib.sha256(b"".join(source.read_bytes() for source in sources)).hexdigest()[:16]
