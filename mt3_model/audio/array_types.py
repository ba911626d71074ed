"""jaxtyping's `Float32`, but only where jaxtyping is loaded already.

The decoding process imports this package once per recording, and jaxtyping would be 0.06 s of its
0.15 s. It checks nothing there: shapes are checked in the test run, which loads it first.
"""

import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING or "jaxtyping" in sys.modules:
    from jaxtyping import Float32
else:

    class Float32:
        """Stands for any array in an annotation."""

        def __class_getitem__(cls, _shape: Any) -> Any:
            return Any


__all__ = ["Float32"]
