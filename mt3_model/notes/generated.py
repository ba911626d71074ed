"""The nouns between segments and decoding: what enters a slot, and what the model wrote there.

They live with the notes, not with the generation that fills them, because everything after the
device (decoding, the service's engine and its callers) must run without JAX.
"""

import dataclasses

import numpy as np
from jaxtyping import Float32, Int32

from mt3_model.notes.transcription import Decoding
from mt3_model.spectrogram.segments import Segment


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class GeneratedSegment:
    """The tokens of one segment, on the host."""

    tokens: Int32[np.ndarray, " L"]
    """Tokens up to and including the end token; without one where ``max_tokens`` came first."""
    log_probabilities: Float32[np.ndarray, " L"]
    """Natural log of the probability that the model gave to each of them."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class SlotEntry:
    """A segment and the free slot it is to start in."""

    slot: int
    segment: Segment
    decoding: Decoding


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class FinishedSlot:
    """A slot that is free again, with what was generated in it."""

    slot: int
    generated: GeneratedSegment
