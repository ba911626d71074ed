"""numba's cache of machine code on disk, except that a damaged or full one only costs time.

numba's own cache raises what it meets: a server whose disk lost a few bytes would never start
again. Here such a program is compiled once more, with a warning. A digest finds changed bytes
before they are run.
"""

# numba's classes are beyond type checkers.
# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false
# pyright: reportUnknownVariableType=false, reportUnknownParameterType=false

import contextlib
import hashlib
import logging
import pickle
from typing import Any

from numba.core import caching, serialize

_logger = logging.getLogger(__name__)


class _CheckedCode(caching.CompileResultCacheImpl):
    """Turns a compiled program into bytes with their digest, and back."""

    def reduce(self, cres: Any) -> tuple[bytes, bytes]:
        """Return the digest of the program's bytes, and the bytes."""
        content: bytes = serialize.dumps(super().reduce(cres))
        return hashlib.sha256(content).digest(), content

    def rebuild(self, target_context: Any, payload: tuple[bytes, bytes]) -> Any:
        """Return the program.

        Raises:
            ValueError: the bytes have another digest.
        """
        digest, content = payload
        if hashlib.sha256(content).digest() != digest:
            raise ValueError("the bytes differ from those written")
        return super().rebuild(target_context, pickle.loads(content))  # noqa: S301 (its own)


class CodeCache(caching.FunctionCache):
    """The machine code of one function, by signature and processor."""

    _impl_class = _CheckedCode

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        """Return the compiled program; None, with a warning, if what is kept cannot be used."""
        try:
            return super().load_overload(sig, target_context)
        except Exception as error:  # noqa: BLE001 (unpickling damaged bytes raises anything)
            _logger.warning(
                "cached machine code in %s cannot be read, so it is compiled again: %s: %s",
                self.cache_path, type(error).__name__, error,
            )  # fmt: skip
            with contextlib.suppress(OSError):  # saving reports it
                self.flush()
            return None

    def save_overload(self, sig: Any, data: Any) -> None:
        """Keep a compiled program, or warn that it will be compiled at every start."""
        try:
            super().save_overload(sig, data)
        except Exception as error:  # noqa: BLE001 (the index, read first, may be damaged)
            _logger.warning(
                "machine code cannot be kept in %s, so each start compiles it: %s: %s",
                self.cache_path, type(error).__name__, error,
            )  # fmt: skip
