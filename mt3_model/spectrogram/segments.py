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

`split_two_passes` cuts the recording twice, for ``quality=high``: the segments of the second pass
begin half a segment earlier, with zeros before the recording, so that every border of one pass is
in the middle of a segment of the other (`mt3_model/postprocessing/stitching.py`). The first pass's
segments are those of `split_segments`.
"""

import dataclasses
import itertools
from collections.abc import Iterable, Iterator

import numpy as np
from jaxtyping import Float32

from mt3_model.spec import ModelSpec


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Segment:
    """One segment of one recording."""

    index: int
    """The segment's number in the recording, from 0, counted over both passes if there are two."""
    samples: Float32[np.ndarray, "N"]
    """``[N]``, ``N = segment_frames * hop_width``, with zeros after the end of the recording."""
    frames: int
    """The number of frames of the recording in it, 1 .. ``segment_frames``."""
    start_time: float
    """Seconds since the recording's first sample, rounded down to a symbolic step; negative for the
    first segment of a second pass."""
    is_second_pass: bool = False
    """Whether it belongs to the second of two passes."""


def silent_segment(spec: ModelSpec) -> Segment:
    """Return a whole segment of silence, to warm up or to try a device."""
    return Segment(
        index=0,
        samples=np.zeros(spec.segment_samples, np.float32),
        frames=spec.segment_frames,
        start_time=0.0,
    )


def segment_start_time(index: int, spec: ModelSpec) -> float:
    """Return the start of segment ``index`` in seconds, rounded down to a step like the original.

    ``t - t % (1 / steps_per_second)`` in float64, with its rounding errors.
    Source: magenta/mt3 fa04532, Colab ``InferenceModel.predict_tokens`` (``start_time -=
    start_time % (1 / codec.steps_per_second)``).
    """
    return _start_time(index * spec.segment_frames, spec)


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
    windows = _cut(blocks, spec, advance=spec.segment_samples)
    for index, samples in enumerate(windows):
        yield _segment(index, samples, spec, start_time=segment_start_time(index, spec))


def split_two_passes(
    blocks: Iterable[Float32[np.ndarray, "_"]], spec: ModelSpec
) -> Iterator[Segment]:
    """Split a stream of mono blocks into the segments of two passes, in the order of their starts.

    The passes take turns, beginning with the second, whose first segment begins half a segment
    before the recording. The last two segments are the last of each pass.

    Args:
        blocks: The samples, as for `split_segments`.
        spec: The model, which sets the length of a segment.

    Yields:
        Each segment as soon as its samples are available; at least one of each pass.
    """
    half = spec.segment_samples // 2
    assert half % spec.spectrogram.hop_width == 0, "half a segment has whole frames"
    before = np.zeros(half, np.float32)
    windows = _cut(itertools.chain([before], blocks), spec, advance=half)
    for index, samples in enumerate(windows):
        yield _segment(
            index,
            samples,
            spec,
            start_time=_start_time((index - 1) * (spec.segment_frames // 2), spec),
            is_second_pass=index % 2 == 0,
        )


def _start_time(first_frame: int, spec: ModelSpec) -> float:
    start = first_frame / spec.spectrogram.frames_per_second
    return start - start % (1 / spec.vocabulary.steps_per_second)


def _cut(
    blocks: Iterable[Float32[np.ndarray, "_"]], spec: ModelSpec, *, advance: int
) -> Iterator[Float32[np.ndarray, "_"]]:
    """Yield the samples of each segment; each begins ``advance`` samples after the one before."""
    hop, size = spec.spectrogram.hop_width, spec.segment_samples
    pending = np.empty(0, np.float32)
    for block in blocks:
        pending = np.concatenate([pending, block])
        # A full segment is never the last: padding always adds samples (rule 1), so even an exact
        # multiple of the segment length is followed by one more segment.
        while len(pending) >= size:
            yield pending[:size]
            pending = pending[advance:]
    pending = np.pad(pending, (0, hop - len(pending) % hop))
    # Fewer than `size` samples were pending here, so at most `size` after padding.
    while len(pending):
        yield pending
        pending = pending[advance:]


def _segment(
    index: int,
    samples: Float32[np.ndarray, "_"],
    spec: ModelSpec,
    *,
    start_time: float,
    is_second_pass: bool = False,
) -> Segment:
    return Segment(
        index=index,
        samples=np.pad(samples, (0, spec.segment_samples - len(samples))),
        frames=len(samples) // spec.spectrogram.hop_width,
        start_time=start_time,
        is_second_pass=is_second_pass,
    )
