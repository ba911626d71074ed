"""The noun between generation and decoding: what the model wrote for one segment.

It lives with the notes, not with the generation that fills it, because everything after the device
(decoding, the service's engine and its callers) must run without JAX.
"""

import dataclasses

import numpy as np
from jaxtyping import Float32, Int32


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class GeneratedSegment:
    """The tokens of one segment, on the host."""

    tokens: Int32[np.ndarray, " L"]
    """Tokens up to and including the end token; without one where ``max_tokens`` came first."""
    log_probabilities: Float32[np.ndarray, " L"]
    """Natural log of the probability that the model gave to each of them."""
