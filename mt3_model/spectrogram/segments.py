"""Samples -> segments: what the encoder sees at once, with its start time.

The published model reads a recording in segments of 256 frames (2.048 s) that do not overlap and
do not know of each other. Three rules of the original are kept exactly, because each moves notes
(Source: magenta/mt3 fa04532, Colab ``InferenceModel._audio_to_frames`` and
``preprocess``; preprocessors.py ``split_tokens_to_inputs_length``):

1. The waveform gets ``hop - N % hop`` zeros: an exact multiple of the hop width gains a whole
   frame, so an exact multiple of a segment gains a segment of one frame, which does emit tokens.
2. A segment's start time is ``t - t % 0.01`` in float64, where t is its first frame's time:
   43 of the first 400 segments land one step below (30.72 becomes 30.71).
3. The last segment keeps its true number of frames: what follows is padding of the log-mel, not
   of the samples (see `logmel.py`).

Blocks go in, segments come out one at a time: an hour of sound never lies in memory whole.
"""

import dataclasses
from collections.abc import Iterable, Iterator

import numpy as np
from jaxtyping import Float32

from mt3_model.spec import ModelSpec


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Segment:
    """One segment of one recording."""

    index: int
    """0 for the recording's first."""
    samples: Float32[np.ndarray, "N"]
    """``segment_frames * hop_width`` samples, zeros after the recording's end."""
    frames: int
    """How many of its frames are the recording's: 1 .. ``segment_frames``."""
    start_time: float
    """Seconds from the recording's first sample, rounded down to a symbolic step."""


def segment_start_time(index: int, spec: ModelSpec) -> float:
    """Start of segment ``index`` in seconds, rounded down to a step as the original rounds.

    ``t - t % (1 / steps_per_second)`` in float64; the float noise is part of the answer.
    Source: magenta/mt3 fa04532, Colab ``InferenceModel.predict_tokens`` (``start_time -=
    start_time % (1 / codec.steps_per_second)``).
    """
    start = index * spec.segment_frames / spec.spectrogram.frames_per_second
    return start - start % (1 / spec.vocabulary.steps_per_second)


def split_segments(
    blocks: Iterable[Float32[np.ndarray, "_"]], spec: ModelSpec
) -> Iterator[Segment]:
    """Cuts a stream of mono blocks at the spec's rate into segments, in order.

    Args:
        blocks: Consecutive samples of one recording, in blocks of any length.
        spec: Gives the segment's length.

    Yields:
        Each segment as soon as its samples are there; at least one, also for an empty stream
        (one frame of padding, as the original does).
    """
    hop, size = spec.spectrogram.hop_width, spec.segment_samples
    pending = np.empty(0, np.float32)
    index = 0
    for block in blocks:
        pending = np.concatenate([pending, block])
        # A full segment may go only when it cannot be the last: the padding rule always adds
        # samples after the recording's end, so even an exact multiple is followed by another.
        while len(pending) >= size:
            yield _segment(index, pending[:size], spec)
            pending = pending[size:]
            index += 1
    padded = np.pad(pending, (0, hop - len(pending) % hop))
    # Fewer than `size` samples are pending here, so at most `size` after padding.
    yield _segment(index, padded, spec)


def _segment(index: int, samples: Float32[np.ndarray, "_"], spec: ModelSpec) -> Segment:
    return Segment(
        index=index,
        samples=np.pad(samples, (0, spec.segment_samples - len(samples))),
        frames=len(samples) // spec.spectrogram.hop_width,
        start_time=segment_start_time(index, spec),
    )
