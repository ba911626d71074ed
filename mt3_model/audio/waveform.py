"""The noun between bytes and segments: mono samples with their rate."""

import dataclasses

import numpy as np

from mt3_model.audio.array_types import Float32


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Waveform:
    """Mono float32 samples, nominally in [-1, 1]."""

    samples: Float32[np.ndarray, "N"]
    sample_rate: int
    """Hz."""

    @property
    def seconds(self) -> float:
        """Length in seconds."""
        return len(self.samples) / self.sample_rate
