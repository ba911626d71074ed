"""The values exchanged with generation: segments that enter slots, and tokens that come out.

They are defined here and not in `mt3_model/generation` because decoding, the server's engine and
its callers use them and must run without JAX.
"""

import dataclasses

import numpy as np
from jaxtyping import Bool, Float32, Int32

from mt3_model.notes.transcription import Decoding
from mt3_model.spectrogram.segments import Segment

ForbiddenTokens = Bool[np.ndarray, " V"]
"""``[V]``, true for each token whose logit generation replaces by -inf
(`mt3_model/codec/instrument_mask.py` builds it)."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class GeneratedSegment:
    """The tokens generated for one segment, in host memory."""

    tokens: Int32[np.ndarray, " L"]
    """``[L]`` tokens up to and including the end token; no end token if ``max_tokens`` was reached
    first."""
    log_probabilities: Float32[np.ndarray, " L"]
    """``[L]``, the natural logarithm of each token's probability."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class SlotEntry:
    """A segment to start, and the free slot to start it in."""

    slot: int
    segment: Segment
    decoding: Decoding
    forbidden: ForbiddenTokens | None = None
    """Tokens that this segment must not have, never the end token; None: all are allowed."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class FinishedSlot:
    """A slot that has finished and is free again, with the tokens generated in it."""

    slot: int
    generated: GeneratedSegment
