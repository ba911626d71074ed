"""Samples -> segments: the encoder's inputs, each with its start time.

The model processes a recording in independent, consecutive segments (256 frames, 2.048 s, for MT3).
Three rules of the original are kept exactly, because each of them moves notes. Source: magenta/mt3
fa04532, Colab ``InferenceModel._audio_to_frames`` and ``preprocess``; preprocessors.py
``split_tokens_to_inputs_length``.

1. The waveform is padded with ``hop - N % hop`` zeros. A multiple of the hop width gains a whole
   frame, so a multiple of the segment length gains a segment of one frame, which can give tokens.
2. A segment's start time is ``t - t % 0.01`` in float64, where t is the time of its first frame. Of
   the first 400 segments, 43 start one step earlier than expected (30.72 becomes 30.71).
3. The last segment keeps its true number of frames: the log-mel is padded, not the samples (see
   `logmel.py`).

Segments are produced from blocks one at a time, so a long recording is never in memory as a whole.
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
    """The segment's number in the recording, from 0."""
    samples: Float32[np.ndarray, "N"]
    """``[N]``, ``N = segment_frames * hop_width``, with zeros after the end of the recording."""
    frames: int
    """The number of frames of the recording in it, 1 .. ``segment_frames``."""
    start_time: float
    """Seconds since the recording's first sample, rounded down to a symbolic step."""


def segment_start_time(index: int, spec: ModelSpec) -> float:
    """Return the start of segment ``index`` in seconds, rounded down to a step like the original.

    ``t - t % (1 / steps_per_second)`` in float64, with its rounding errors.
    Source: magenta/mt3 fa04532, Colab ``InferenceModel.predict_tokens`` (``start_time -=
    start_time % (1 / codec.steps_per_second)``).
    """
    start = index * spec.segment_frames / spec.spectrogram.frames_per_second
    return start - start % (1 / spec.vocabulary.steps_per_second)


def split_segments(
    blocks: Iterable[Float32[np.ndarray, "_"]], spec: ModelSpec
) -> Iterator[Segment]:
    """Split a stream of mono blocks into segments, in order.

    Args:
        blocks: Consecutive samples of one recording at the spec's sample rate, in blocks of any
            length.
        spec: The model, which sets the length of a segment.

    Yields:
        Each segment as soon as its samples are available. There is at least one: an empty stream
        gives one frame of padding, as in the original.
    """
    hop, size = spec.spectrogram.hop_width, spec.segment_samples
    pending = np.empty(0, np.float32)
    index = 0
    for block in blocks:
        pending = np.concatenate([pending, block])
        # A full segment is never the last: padding always adds samples (rule 1), so even an exact
        # multiple of the segment length is followed by one more segment.
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
