"""Generated segments of two passes over one recording -> its ``Transcription``.

With ``quality=high`` the recording is cut twice (`split_two_passes`), and each pass is assembled by
itself (`mt3_model/notes/assembling.py`). The notes of the first pass are known segment by segment;
the stitched ones (`stitching.py`) need both passes, so they come at the end.
"""

import dataclasses
from collections.abc import Iterable, Iterator

import numpy as np
from jaxtyping import Float32

from mt3_model.notes.assembling import NO_NOTES_WARNING, RecordingAssembler
from mt3_model.notes.generated import GeneratedSegment
from mt3_model.notes.note import Note
from mt3_model.notes.transcription import (
    ModelProvenance,
    Quality,
    Transcription,
    TranscriptionOptions,
    TranscriptionWarning,
)
from mt3_model.postprocessing.stitching import stitch_passes
from mt3_model.spec import ModelSpec
from mt3_model.spectrogram.segments import Segment, split_segments, split_two_passes


class TwoPassAssembler:
    """Collects the generated segments of both passes and builds the transcription.

    It has the methods of `RecordingAssembler`, for segments as `split_two_passes` yields them.

    Attributes:
        warnings: The model's warnings so far, in segment order; `finish` may add one.
    """

    def __init__(self, spec: ModelSpec, options: TranscriptionOptions) -> None:
        self._spec = spec
        self._options = options
        self._first = RecordingAssembler(spec, options)
        self._second = RecordingAssembler(spec, options)
        self._latest = self._first
        self.warnings: list[TranscriptionWarning] = []

    def add_segment(self, segment: Segment, generated: GeneratedSegment) -> tuple[Note, ...]:
        """Add the next segment of either pass, as in `RecordingAssembler.add_segment`.

        Returns:
            The notes that ended in the first pass's segment that was pending.
        """
        self._latest = self._second if segment.is_second_pass else self._first
        warnings_before = len(self._latest.warnings)
        # The passes take turns, so a segment's number in its own pass is half its index.
        own = dataclasses.replace(segment, index=segment.index // 2)
        ended = self._latest.add_segment(own, generated)
        self.warnings += self._latest.warnings[warnings_before:]
        return () if segment.is_second_pass else ended

    def close_segment(self, next_start_time: float | None) -> tuple[Note, ...]:
        """Decode the newest segment now, as in `RecordingAssembler.close_segment`.

        Args:
            next_start_time: The start time of the next segment of the same pass, or None after its
                last segment.

        Returns:
            The notes that ended in it. They are provisional. Empty for the second pass.
        """
        ended = self._latest.close_segment(next_start_time)
        return () if self._latest is self._second else ended

    def finish(
        self,
        *,
        model: ModelProvenance,
        duration_seconds: float,
        recording_seconds: float | None = None,
        warnings: Iterable[TranscriptionWarning] = (),
        queue_seconds: float = 0.0,
        wall_seconds: float = 0.0,
    ) -> Transcription:
        """Stitch the passes and build the transcription; its usage counts both.

        The arguments are those of `RecordingAssembler.finish`. An hour of dense music takes about a
        second, so do not call it on an event loop.
        """
        first, second = (
            each.finish(
                model=model,
                duration_seconds=duration_seconds,
                recording_seconds=recording_seconds,
                queue_seconds=queue_seconds,
                wall_seconds=wall_seconds,
            )
            for each in (self._first, self._second)
        )
        notes = stitch_passes(
            first.notes,
            second.notes,
            segment_seconds=self._spec.segment_seconds,
            start=self._options.start,
        )
        if not notes.notes:
            # A stream has no event that withdraws all notes already sent.
            notes = first.notes
        if not notes.notes:
            self.warnings.append(NO_NOTES_WARNING)
        return dataclasses.replace(
            first,
            notes=notes,
            warnings=(*warnings, *self.warnings),
            usage=dataclasses.replace(
                first.usage,
                segments=first.usage.segments + second.usage.segments,
                tokens=first.usage.tokens + second.usage.tokens,
            ),
            invalid_events=first.invalid_events + second.invalid_events,
            dropped_events=first.dropped_events + second.dropped_events,
        )


def split_recording(
    blocks: Iterable[Float32[np.ndarray, "_"]], spec: ModelSpec, quality: Quality
) -> Iterator[Segment]:
    """Split a stream of mono blocks into the segments of one pass, or of two for ``high``.

    The arguments are those of `split_segments`.
    """
    match quality:
        case "standard":
            return split_segments(blocks, spec)
        case "high":
            return split_two_passes(blocks, spec)


def passes_of(quality: Quality) -> int:
    """Return the number of passes, which is the number of segments at any time of the recording."""
    match quality:
        case "standard":
            return 1
        case "high":
            return 2


def open_assembler(
    spec: ModelSpec, options: TranscriptionOptions
) -> RecordingAssembler | TwoPassAssembler:
    """Return the assembler for the number of passes that the options ask for."""
    match options.quality:
        case "standard":
            return RecordingAssembler(spec, options)
        case "high":
            return TwoPassAssembler(spec, options)
