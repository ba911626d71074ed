"""The fixed position embedding, without JAX and Flax: the CPU's own programs read it too.

Source: magenta/mt3 fa04532, layers.py.
"""

import numpy as np
from jaxtyping import Float32


def position_table(positions: int, width: int) -> Float32[np.ndarray, "L D"]:
    """Return fixed sinusoids ``[L, D]``: sines in the first half of D, cosines in the second.

    ``angle(p, i) = p * 10000^(-i / (width/2 - 1))``. Source: layers.py:50-82 (``sinusoidal``).
    """
    half = width // 2
    rates = np.exp(np.arange(half) * (-np.log(10_000.0) / (half - 1)))  # [D / 2]
    angles = np.arange(positions)[:, None] * rates  # [L, D / 2]
    return np.concatenate([np.sin(angles), np.cos(angles)], axis=1).astype(np.float32)
