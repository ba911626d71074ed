"""Transcribe a recording on disk through the engine: the main path of a request.

    open and admit the recording    refused at once when too much waits (`recording_opener.py`)
    -> generate its segments        `engine/segment_generation.py`
    -> conclude                     tokens -> notes -> the answer (`recordings/work.py`)

`Transcriber.write` answers with bytes. `Transcriber.stream` yields events as they happen, for which
each segment's tokens are also turned into notes here, at once. A segment's notes are final as soon
as its own tokens are complete: the start of the next segment, which limits the times that it may
write, is already known, because that segment has been read. The result is the same as that of
`write`, from the same code.

This module uses neither HTTP nor JAX. At most ``Engine.segments_ahead`` segments of samples and two
batches of reading are in memory, whatever the recording's length. Closing a stream, for example
when a client disconnects, removes its segments from the engine, stops reading and closes the
recording.
"""

import collections
import contextlib
import math
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator, Sequence
from pathlib import Path

from mt3_model.notes.generated import GeneratedSegment
from mt3_model.notes.postprocess_option import parse_postprocess
from mt3_model.notes.tracks import TrackNumbers
from mt3_model.notes.transcription import (
    ModelProvenance,
    Transcription,
    TranscriptionOptions,
    TranscriptionWarning,
    check_precision,
)
from mt3_model.postprocessing.two_passes import open_assembler, passes_of
from mt3_model.rhythm.estimation import check_rhythm_options
from mt3_model.spectrogram.segments import Segment
from service.auth.caller import ANONYMOUS, Caller
from service.engine.admission import Admission
from service.engine.engine import Engine
from service.engine.segment_generation import SubmittedSegment, generate_segments
from service.observability.tracing import record_span, span
from service.recording_opener import AdmittedRecording, RecordingOpener
from service.recordings.work import Generation, Write, Written
from service.transcription_events import (
    Completed,
    FinalNotes,
    Progress,
    SegmentDone,
    Started,
    TranscriptionEvent,
    Warned,
)

_FEWEST_TOKENS_WITH_A_NOTE = 4
"""Shift, velocity, pitch, end."""
OnLength = Callable[[float], Awaitable[None]]
"""Takes the length of a recording, in seconds, as soon as it is open."""


class Transcriber:
    """Transcribes recordings. To be used from one event loop.

    Args:
        engine: the engine that all recordings share.
        opener: opens the recordings and admits them to that engine.
        model: provenance of the model, reported with each transcription.
    """

    def __init__(self, engine: Engine, opener: RecordingOpener, model: ModelProvenance) -> None:
        self.model = model
        self.admissions = engine.admissions
        """The engine's admissions, and the waiting times that follow from them."""
        self.opener = opener
        """Opens and admits the recordings; it can refuse one before its upload."""
        self._engine = engine

    async def transcribe(
        self, path: Path, options: TranscriptionOptions, caller: Caller = ANONYMOUS
    ) -> Transcription:
        """Transcribe one recording, or the range of it that the options name.

        Args:
            path: any audio that `mt3_model/audio` reads.
            options: the caller's options.
            caller: sender of the recording, with its limits.

        Raises:
            AudioError: the recording cannot be used.
            OptionError: ``start`` or ``end`` is not a time of this recording, or the model is not
                loaded in the requested ``precision``.
            OverloadedError: too much is already waiting.
            QuotaError: the caller has reached its limit of waiting audio.
            EngineError: the device failed; trying again may help.
        """
        events = self.stream(path, options, caller)
        async with contextlib.aclosing(events):
            async for event in events:
                if isinstance(event, Completed):
                    return event.transcription
        raise AssertionError("a stream ends with Completed, or raises")

    async def write(
        self,
        path: Path,
        options: TranscriptionOptions,
        caller: Caller = ANONYMOUS,
        *,
        write: Write,
        max_seconds: float = math.inf,
        on_length: OnLength | None = None,
    ) -> Written | None:
        """Transcribe one recording, and write the answer.

        Unlike `stream`, it leaves all work on notes to the end of the recording, where one of the
        recording processes does it.

        Args:
            path: as in `transcribe`.
            options: as in `transcribe`.
            caller: as in `transcribe`.
            write: writes the transcription.
            max_seconds: longest declared length of the range to transcribe.
            on_length: called with the declared length of the range, if there is one.

        Returns:
            The answer; None if the range is longer: nothing was admitted then.

        Raises:
            MT3Error: as in `transcribe`.
            ServiceError: as in `transcribe`.
        """
        opening = self._open(path, options, caller, max_seconds=max_seconds)
        async with opening as opened:
            if opened is None:
                return None
            reader, admission, metrics = opened.reader, opened.admission, opened.metrics
            if on_length is not None and reader.known_seconds is not None:
                await on_length(reader.known_seconds)
            with span("generate"):
                async with contextlib.aclosing(self._generate(opened, options)) as segments:
                    async for _, tokens in segments:
                        if len(tokens.tokens) >= _FEWEST_TOKENS_WITH_A_NOTE:
                            metrics.add_notes()
                        reader.add(tokens)
                _record_queue(admission)
            with span("conclude"):
                written = await reader.write(self._generation(opened), write)
            metrics.finish(written.usage.audio_seconds)
            return written

    async def stream(
        self,
        path: Path,
        options: TranscriptionOptions,
        caller: Caller = ANONYMOUS,
    ) -> AsyncGenerator[TranscriptionEvent]:
        """Transcribe one recording and yield its events.

        Closing the generator removes the recording's segments from the engine and ends its reading:
        iterate under `contextlib.aclosing`.

        Args:
            path: as in `transcribe`.
            options: as in `transcribe`.
            caller: as in `transcribe`.

        Yields:
            The events of `service/transcription_events.py`.

        Raises:
            MT3Error: as in `transcribe`; errors of opening and admission before the first event.
            ServiceError: as in `transcribe`.
        """
        async with self._open(path, options, caller) as opened:
            assert opened is not None, "without a bound, nothing is too long"
            reader = opened.reader
            yield Started(
                audio_seconds=reader.known_seconds,
                recording_seconds=reader.info.duration_seconds,
            )
            async with contextlib.aclosing(self._decode(opened, options)) as events:
                async for event in events:
                    yield event

    def _open(
        self,
        path: Path,
        options: TranscriptionOptions,
        caller: Caller,
        *,
        max_seconds: float = math.inf,
    ) -> contextlib.AbstractAsyncContextManager[AdmittedRecording | None]:
        """Open and admit a recording, if this model can follow the options."""
        check_precision(options, self.model)
        check_rhythm_options(options)
        return self.opener.open(path, options, caller, max_seconds=max_seconds)

    def _generate(
        self, opened: AdmittedRecording, options: TranscriptionOptions
    ) -> AsyncGenerator[tuple[SubmittedSegment, GeneratedSegment]]:
        passes = passes_of(options.quality)
        return generate_segments(self._engine, opened.reader, opened.admission, passes=passes)

    async def _decode(
        self, opened: AdmittedRecording, options: TranscriptionOptions
    ) -> AsyncGenerator[TranscriptionEvent]:
        """Decode each segment to notes as it is generated; yield the events that follow Started."""
        reader, metrics = opened.reader, opened.metrics
        assembler = open_assembler(self._engine.spec, options)
        track_numbers = TrackNumbers()
        warned = segments_done = 0
        with span("generate"):
            async with contextlib.aclosing(self._generate(opened, options)) as segments:
                async for item, generated in segments:
                    segment = item.segment
                    reader.add(generated)
                    assembler.add_segment(segment, generated)
                    notes = assembler.close_segment(item.next_start_time)
                    if notes:
                        metrics.add_notes()
                    if not segment.is_second_pass:
                        yield SegmentDone(
                            index=segments_done,
                            start=options.start + segment.start_time,
                            end=options.start + self._end_of(segment),
                            notes=notes,
                            tracks=track_numbers.assign(notes),
                        )
                        segments_done += 1
                    for warning in assembler.warnings[warned:]:
                        yield Warned(warning=warning)
                    warned = len(assembler.warnings)
                    is_last = item.next_start_time is None
                    read = reader.seconds
                    yield Progress(
                        done_seconds=read if is_last else min(self._end_of(segment), read),
                        total_seconds=read if is_last else reader.total_seconds,
                        segments=segment.index + 1,
                    )
            _record_queue(opened.admission)
        with span("conclude"):
            transcription = await reader.conclude(self._generation(opened))
        for event in _last_events(transcription, assembler.warnings):
            yield event
        metrics.finish(transcription.duration_seconds)
        yield Completed(transcription=transcription)

    def _generation(self, opened: AdmittedRecording) -> Generation:
        return Generation(
            model=self.model,
            queue_seconds=opened.admission.queue_seconds or 0.0,
            wall_seconds=opened.metrics.elapsed_seconds(),
        )

    def _end_of(self, segment: Segment) -> float:
        """Return the segment's end, in seconds from the start of the range."""
        return segment.start_time + segment.frames / self._engine.spec.spectrogram.frames_per_second


def _record_queue(admission: Admission) -> None:
    """Record the span in which the first segment waited for a slot."""
    if admission.submitted is not None and admission.queue_seconds is not None:
        began = admission.submitted
        record_span("queue", began=began, ended=began + admission.queue_seconds)


def _last_events(
    transcription: Transcription, yielded: Sequence[TranscriptionWarning]
) -> Iterator[TranscriptionEvent]:
    """Return the warnings that were not yielded yet, and the notes that replace the segments'."""
    rest = collections.Counter(transcription.warnings)
    rest.subtract(yielded)
    for warning in transcription.warnings:
        if rest[warning] > 0:
            rest[warning] -= 1
            yield Warned(warning=warning)
    options, notes = transcription.options, transcription.notes.notes
    if notes and (parse_postprocess(options.postprocess) or options.quality == "high"):
        yield FinalNotes(notes=notes, tracks=TrackNumbers().assign(notes))
