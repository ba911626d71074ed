"""The seam between the service and the device: what the engine asks of it.

Two real implementations make it one: the library's `SegmentGenerator` on JAX, and the
hand-computable one of `fake_backend.py`. Everything here is called from one thread.
"""

from collections.abc import Sequence
from typing import Protocol

from mt3_model.notes.generated import GeneratedSegment
from mt3_model.notes.transcription import Decoding
from mt3_model.spectrogram.segments import Segment


class Backend(Protocol):
    """Makes tokens of segments."""

    @property
    def batch_size(self) -> int:
        """B: most segments of one call."""
        ...

    def warm_up(self, decoding: Decoding, /) -> object:
        """Does what the first call would otherwise pay for: compiling, mostly."""
        ...

    def generate(
        self, segments: Sequence[Segment], decoding: Decoding, /
    ) -> list[GeneratedSegment]:
        """Generates the tokens of 1 to ``batch_size`` segments, in their order."""
        ...
