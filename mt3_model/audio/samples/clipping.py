"""Find samples that are stuck at full scale: the recording was too loud for its format.

A clipped wave stays at one value for several samples, where music only touches its peak. So a
sample counts if it lies in a run of four or more that differ by at most three steps of 16 bits and
are within 1 % of full scale or beyond it. A sine of full scale has no such run from 100 Hz on at
44.1 kHz. Lossy codecs bend the flat tops, so clipping before a lossy codec is not found.
"""

import numpy as np

from mt3_model.audio.array_types import Float32

CLIPPED_SHARE = 1e-3
"""Share of clipped samples from which a recording counts as clipped. Masters that a limiter holds
just below full scale have less."""
_FULL_SCALE = 0.99
_SAME = 1e-4
_RUN = 4
"""Samples."""


class ClippingDetector:
    """Counts the clipped samples of one recording's blocks. A run across two blocks counts as two.

    Attributes:
        clipped: number of sample times at which a channel is clipped.
        first: position of the first of them, in samples from the first block.
        past: position after the last of them.
    """

    def __init__(self) -> None:
        """Start with nothing counted."""
        self.clipped = 0
        self.first = 0
        self.past = 0
        self._position = 0

    @property
    def share(self) -> float:
        """The share of clipped samples so far, in [0, 1]."""
        return self.clipped / self._position if self._position else 0.0

    def add(self, block: Float32[np.ndarray, "_ C"], largest: float) -> None:
        """Examine the next block.

        Args:
            block: finite samples.
            largest: the greatest magnitude in the block; most blocks need no other look.
        """
        if largest >= _FULL_SCALE:
            self._count(block, np.abs(block) >= _FULL_SCALE)
        self._position += len(block)

    def _count(self, block: Float32[np.ndarray, "_ C"], is_loud: np.ndarray) -> None:
        # A pair is flat if both samples are loud and alike; a run of four has three such pairs.
        flat = is_loud[1:] & is_loud[:-1] & (np.abs(np.diff(block, axis=0)) <= _SAME)
        count = len(block) - _RUN + 1
        if count <= 0:
            return
        begins = np.logical_and.reduce([flat[i : i + count] for i in range(_RUN - 1)])
        is_clipped = np.zeros(len(block), bool)
        for i in range(_RUN):
            is_clipped[i : i + count] |= begins.any(axis=1)
        places = np.flatnonzero(is_clipped)
        if len(places):
            if not self.clipped:
                self.first = self._position + int(places[0])
            self.past = self._position + int(places[-1]) + 1
            self.clipped += len(places)
