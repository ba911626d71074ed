"""jaxtyping's `Float32` where jaxtyping is loaded already, else a placeholder.

Each recording starts a process that imports this package, and jaxtyping would take 0.06 s of its
0.15 s. Shapes are checked only in the test run, which loads jaxtyping first.
"""

import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING or "jaxtyping" in sys.modules:
    from jaxtyping import Float32
else:

    class Float32:
        """Placeholder for an array type in an annotation."""

        def __class_getitem__(cls, _shape: Any) -> Any:
            return Any


__all__ = ["Float32"]
