"""Generated segments of one recording, in order -> its ``Transcription``.

The one place where the segments of a recording become the answer, used alike by the library
(`mt3_model/transcribe.py`) and by the service (`service/transcription.py`), so that both give the
same notes for the same tokens. Pure: no clock, no files, no device; timings are handed in.

Two things are decided here. A segment may only write notes up to the start of the next one, and
the last has no such limit (`decoding.py`): since a segment does not know whether it is the last,
one is held back until the next arrives, or until somebody who knows what follows it says so
(`RecordingAssembler.close_segment`), which gives the very same notes earlier. And the decoder's
clock starts at the first sample read, so that all notes are moved by ``options.start`` when they
leave: the caller's times are the recording's own.
"""

import dataclasses
from collections.abc import Iterable

from mt3_model.audio.recording import AudioWarning
from mt3_model.codec.vocabulary import END_TOKEN, build_codec
from mt3_model.notes.decoding import NoteDecoder
from mt3_model.notes.generated import GeneratedSegment
from mt3_model.notes.note import Note, NoteSequence
from mt3_model.notes.transcription import (
    ModelProvenance,
    Transcription,
    TranscriptionOptions,
    TranscriptionWarning,
    Usage,
)
from mt3_model.spec import ModelSpec
from mt3_model.spectrogram.segments import Segment


class RecordingAssembler:
    """Collects the segments of one recording and writes its transcription.

    Attributes:
        warnings: Those of the model so far, in the order of the segments; `finish` may add one.
    """

    def __init__(self, spec: ModelSpec, options: TranscriptionOptions) -> None:
        self._spec = spec
        self._options = options
        self._decoder = NoteDecoder(
            build_codec(spec.vocabulary), uses_ties=spec.vocabulary.uses_ties
        )
        self._held: tuple[Segment, GeneratedSegment] | None = None
        self._segments = 0
        self._tokens = 0
        self._is_flushed = False
        self.warnings: list[TranscriptionWarning] = []

    def add_segment(self, segment: Segment, generated: GeneratedSegment) -> tuple[Note, ...]:
        """Takes the next segment with what the model wrote for it, and holds it.

        Args:
            segment: The recording's next: indices must come as 0, 1, 2...
            generated: Its tokens.

        Returns:
            The notes that ended in the segment held until now; none where that was closed.
        """
        assert segment.index == self._segments, "segments must be added in order"
        ended = self.close_segment(next_start_time=segment.start_time)
        self._held = (segment, generated)
        self._segments += 1
        self._tokens += len(generated.tokens)
        if END_TOKEN not in generated.tokens:
            self.warnings.append(self._unfinished(segment))
        return ended

    def close_segment(self, next_start_time: float | None) -> tuple[Note, ...]:
        """Decodes the held segment at once, its successor's start being known.

        Args:
            next_start_time: Start of the segment after it, as `Segment.start_time`; None: there is
                none, and what still sounds ends.

        Returns:
            The notes that ended in it, on the recording's clock, in the order in which they ended;
            no later segment changes them. None where no segment is held.
        """
        assert not self._is_flushed or next_start_time is None, "no segment follows the last"
        ended: tuple[Note, ...] = ()
        if self._held is not None:
            segment, generated = self._held
            self._held = None
            ended = self._decoder.add_segment(
                generated.tokens,
                start_time=segment.start_time,
                next_start_time=next_start_time,
                log_probabilities=generated.log_probabilities,
            )
        if next_start_time is None and not self._is_flushed:
            self._is_flushed = True
            given = self._decoder.notes_ended
            ended += self._decoder.finish().notes[given:]
        return tuple(_move_note(note, self._options.start) for note in ended)

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
        """Decodes the last segment and writes the answer.

        Args:
            model: Which model made the notes.
            duration_seconds: Length of the sound read (of the range asked for).
            recording_seconds: Length of the whole recording, where it is known.
            warnings: Those of reading; they come first.
            queue_seconds: Waiting for the device.
            wall_seconds: From the first byte read to now.
        """
        self.close_segment(next_start_time=None)
        notes = _move(self._decoder.finish(), self._options.start)
        if not notes.notes:
            self.warnings.append(
                TranscriptionWarning(
                    code="no_notes", message="the model heard no notes in this recording"
                )
            )
        return Transcription(
            notes=notes,
            model=model,
            options=dataclasses.replace(self._options, precision=model.precision),
            duration_seconds=duration_seconds,
            recording_seconds=recording_seconds,
            warnings=(*warnings, *self.warnings),
            usage=Usage(
                audio_seconds=duration_seconds,
                segments=self._segments,
                tokens=self._tokens,
                queue_seconds=queue_seconds,
                wall_seconds=wall_seconds,
            ),
            invalid_events=self._decoder.invalid_events,
            dropped_events=self._decoder.dropped_events,
        )

    def _unfinished(self, segment: Segment) -> TranscriptionWarning:
        start = self._options.start + segment.start_time
        return TranscriptionWarning(
            code="unfinished_segment",
            message=f"the model wrote {self._spec.max_tokens} tokens without an end for this"
            " segment: its last notes may be missing",
            start=start,
            end=start + self._spec.segment_seconds,
        )


def to_transcription_warnings(warnings: Iterable[AudioWarning]) -> tuple[TranscriptionWarning, ...]:
    """Turns the warnings of reading into those of the answer; both have the recording's clock."""
    return tuple(
        TranscriptionWarning(code=w.code, message=w.message, start=w.start, end=w.end)
        for w in warnings
    )


def _move(notes: NoteSequence, seconds: float) -> NoteSequence:
    """Shifts every time by ``seconds``; 0 keeps the very floats."""
    if seconds == 0.0 or not notes.notes:
        return notes
    return NoteSequence(
        notes=tuple(_move_note(note, seconds) for note in notes.notes),
        total_time=notes.total_time + seconds,
    )


def _move_note(note: Note, seconds: float) -> Note:
    if seconds == 0.0:
        return note
    return dataclasses.replace(
        note, start_time=note.start_time + seconds, end_time=note.end_time + seconds
    )
