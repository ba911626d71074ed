"""The parts of a recording's sound that the clean-up keeps until the last note is known."""

import numpy as np
from jaxtyping import Float32

from mt3_model.postprocessing.band_levels import BandLevels
from mt3_model.postprocessing.low_band import LowBand


class RecordingSound:
    """The sound of one recording, collected segment by segment: 33 MB per hour.

    Attributes:
        low_band: the sound below 2 kHz, for pitched notes.
        band_levels: levels in bands up to 8 kHz, for drums.
    """

    def __init__(self, sample_rate: int) -> None:
        """Start empty.

        Args:
            sample_rate: rate of the samples, Hz.
        """
        self.low_band = LowBand(sample_rate)
        self.band_levels = BandLevels(sample_rate)

    def add_samples(self, samples: Float32[np.ndarray, "N"]) -> None:
        """Append the samples of the next segment."""
        self.low_band.add_samples(samples)
        self.band_levels.add_samples(samples)
