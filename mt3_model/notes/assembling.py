"""Generated segments of one recording, in order -> its ``Transcription``.

The library (`mt3_model/transcribe.py`) and the server (`service/transcriber.py`) both assemble
their results here, so they return the same notes for the same tokens. The module is pure: no
clock, no files, no device; timings are passed in.

It adds three rules to the decoder (`decoding.py`):

1. **One segment is pending.** A segment may write notes only up to the start of the next one, and
   the last segment has no such limit. Whether a segment is the last is known only when the next
   one arrives, so the newest segment waits for it. A caller that already knows what follows calls
   `RecordingAssembler.close_segment` and gets the same notes earlier.
2. **Times are the recording's.** The decoder counts from the first sample read. When the caller
   transcribes from ``options.start`` on, every note is moved by that many seconds.
3. **Named instruments.** If the caller named instruments, `close_segment` gives each note the
   nearest of them, so that a stream shows no other. `finish` keeps the model's programs, which the
   clean-up still needs (`mt3_model/postprocessing/cleaning.py`).
"""

import dataclasses
from collections.abc import Iterable

from msgspec import structs

from mt3_model.audio.recording import AudioWarning
from mt3_model.codec.vocabulary import END_TOKEN, build_codec
from mt3_model.notes.decoding import NoteDecoder
from mt3_model.notes.generated import GeneratedSegment
from mt3_model.notes.instruments_option import parse_instruments, split_names
from mt3_model.notes.named_instruments import rename_notes
from mt3_model.notes.note import Note, NoteSequence
from mt3_model.notes.postprocess_option import normalize_postprocess, parse_postprocess
from mt3_model.notes.transcription import (
    ModelProvenance,
    Transcription,
    TranscriptionOptions,
    TranscriptionWarning,
    Usage,
)
from mt3_model.spec import ModelSpec
from mt3_model.spectrogram.segments import Segment

NO_NOTES_WARNING = TranscriptionWarning(
    code="no_notes", message="the model found no notes in this recording"
)


class RecordingAssembler:
    """Collects the generated segments of one recording and builds its transcription.

    Call `add_segment` for each segment in order, then `finish`.

    Attributes:
        warnings: The model's warnings so far, in segment order; `finish` may add one.
    """

    def __init__(self, spec: ModelSpec, options: TranscriptionOptions) -> None:
        self._spec = spec
        self._options = options
        self._decoder = NoteDecoder(
            build_codec(spec.vocabulary),
            uses_ties=spec.vocabulary.uses_ties,
            joins_programs="ties" in parse_postprocess(options.postprocess),
        )
        self._named = parse_instruments(options.instruments)
        self._pending: tuple[Segment, GeneratedSegment] | None = None
        self._segment_count = 0
        self._token_count = 0
        self._is_finished = False
        self.warnings: list[TranscriptionWarning] = []

    def add_segment(self, segment: Segment, generated: GeneratedSegment) -> tuple[Note, ...]:
        """Add the next segment and decode the one that was pending.

        Args:
            segment: The recording's next segment; indices must come as 0, 1, 2...
            generated: The tokens that the model generated for it.

        Returns:
            The notes that ended in the segment that was pending; empty if none was.
        """
        assert segment.index == self._segment_count, "segments must be added in order"
        ended = self.close_segment(next_start_time=segment.start_time)
        self._pending = (segment, generated)
        self._segment_count += 1
        self._token_count += len(generated.tokens)
        if END_TOKEN not in generated.tokens:
            self.warnings.append(self._unfinished_segment_warning(segment))
        return ended

    def close_segment(self, next_start_time: float | None) -> tuple[Note, ...]:
        """Decode the pending segment now, without waiting for the next one.

        Args:
            next_start_time: The start time of the next segment (`Segment.start_time`), or None
                after the last segment, which also ends all notes that still sound.

        Returns:
            The notes that ended, in the order in which they ended, with the recording's times. They
            are final: no later segment changes them. Empty if no segment is pending.
        """
        assert not self._is_finished or next_start_time is None, "no segment follows the last"
        ended: tuple[Note, ...] = ()
        if self._pending is not None:
            segment, generated = self._pending
            self._pending = None
            ended = self._decoder.add_segment(
                generated.tokens,
                start_time=segment.start_time,
                next_start_time=next_start_time,
                log_probabilities=generated.log_probabilities,
            )
        if next_start_time is None and not self._is_finished:
            self._is_finished = True
            notes_before = self._decoder.notes_ended
            ended += self._decoder.finish().notes[notes_before:]
        moved = tuple(_move_note(note, self._options.start) for note in ended)
        return moved if self._named is None else rename_notes(moved, self._named)

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
        """Decode the last segment and build the transcription, with the model's own programs.

        Args:
            model: The model that generated the tokens.
            duration_seconds: Seconds of sound read, which is the length of the requested range.
            recording_seconds: Seconds of the whole recording, if known.
            warnings: Warnings from reading the audio; they come before the model's.
            queue_seconds: Seconds spent waiting for the device.
            wall_seconds: Seconds from the first byte read until now.
        """
        self.close_segment(next_start_time=None)
        notes = _move_notes(self._decoder.finish(), self._options.start)
        if not notes.notes:
            self.warnings.append(NO_NOTES_WARNING)
        return Transcription(
            notes=notes,
            model=model,
            options=dataclasses.replace(
                self._options,
                precision=model.precision,
                postprocess=normalize_postprocess(self._options.postprocess),
                instruments=split_names(self._options.instruments),
            ),
            duration_seconds=duration_seconds,
            recording_seconds=recording_seconds,
            warnings=(*warnings, *self.warnings),
            usage=Usage(
                audio_seconds=duration_seconds,
                segments=self._segment_count,
                tokens=self._token_count,
                queue_seconds=queue_seconds,
                wall_seconds=wall_seconds,
            ),
            invalid_events=self._decoder.invalid_events,
            dropped_events=self._decoder.dropped_events,
            velocity="model" if self._spec.vocabulary.velocity_bins > 1 else "constant",
        )

    def _unfinished_segment_warning(self, segment: Segment) -> TranscriptionWarning:
        start = self._options.start + segment.start_time
        return TranscriptionWarning(
            code="unfinished_segment",
            message=f"the model wrote {self._spec.max_tokens} tokens without an end for the segment"
            f" at {start:.2f} s: its last notes may be missing",
            start=start,
            end=start + self._spec.segment_seconds,
        )


def to_transcription_warnings(warnings: Iterable[AudioWarning]) -> tuple[TranscriptionWarning, ...]:
    """Convert warnings from reading the audio; their times already are the recording's."""
    return tuple(
        TranscriptionWarning(code=w.code, message=w.message, start=w.start, end=w.end)
        for w in warnings
    )


def _move_notes(notes: NoteSequence, seconds: float) -> NoteSequence:
    """Add ``seconds`` to every time; 0 leaves the floats bit for bit as they are."""
    if seconds == 0.0 or not notes.notes:
        return notes
    return NoteSequence(
        notes=tuple(_move_note(note, seconds) for note in notes.notes),
        total_time=notes.total_time + seconds,
    )


def _move_note(note: Note, seconds: float) -> Note:
    if seconds == 0.0:
        return note
    return structs.replace(
        note, start_time=note.start_time + seconds, end_time=note.end_time + seconds
    )
