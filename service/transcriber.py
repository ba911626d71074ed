"""A recording on disk -> its transcription, through the engine: the story of a request.

    open the recording                in a thread of its own (`engine/segment_reader.py`)
    -> ask the engine's admission     refused at once when too much waits
    -> read and submit segments       ahead of the device, but only so far
    -> await each segment's tokens    in the segments' order, whatever order they end in
    -> RecordingAssembler             tokens -> notes
    -> Transcription

The story is told as it happens (`Transcriber.stream`), or whole at its end
(`Transcriber.transcribe`, which only listens): one implementation, so that a stream's notes are
the answer's. A segment's notes are told when its own tokens are there: where the next segment
begins, which ends what this one may write, is known since that was read, long before it is
generated.

No HTTP and no JAX here. At most ``Engine.segments_ahead`` segments of samples, and two batches of
reading, are in memory whatever the recording's length. A cancelled request (its client went away)
leaves the engine, stops reading and closes the recording; nothing stays behind.
"""

import asyncio
import contextlib
import dataclasses
import math
import os
import time
from collections.abc import AsyncGenerator, Callable, Generator
from pathlib import Path

import numpy as np

from mt3_model.audio.recording import ReadingLimits
from mt3_model.notes.assembling import RecordingAssembler, to_transcription_warnings
from mt3_model.notes.generated import GeneratedSegment
from mt3_model.notes.note import Note
from mt3_model.notes.tracks import TrackNumbers
from mt3_model.notes.transcription import (
    ModelProvenance,
    Transcription,
    TranscriptionOptions,
    TranscriptionWarning,
    check_precision,
)
from mt3_model.spec import ModelSpec
from mt3_model.spectrogram.segments import Segment
from service.auth.caller import ANONYMOUS, Caller
from service.engine.admission import Admission
from service.engine.engine import Engine
from service.engine.segment_reader import SegmentReader
from service.errors import OverloadedError, QuotaError
from service.observability.metrics import Metrics
from service.observability.tracing import record_span, span


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Started:
    """The recording is open and may wait for the device; always the first event."""

    audio_seconds: float | None
    """Length of the range asked for, by the recording's own account; None where it gives none."""
    recording_seconds: float | None = None
    """Length of the whole recording by the same account."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class SegmentDone:
    """A segment is decoded, and so are all before it."""

    index: int
    """0, 1, 2...: none is left out."""
    start: float
    """Seconds of the recording's clock."""
    end: float
    notes: tuple[Note, ...]
    """Those that ended in it, final, in the order in which they ended; of the last segment, also
    those that sounded to the recording's end."""
    tracks: tuple[int, ...]
    """Of each of them the number of its track."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Progress:
    """How far it is; follows each segment."""

    done_seconds: float
    """Sound transcribed, from the start of the range."""
    total_seconds: float | None
    """Length of the range; None while it is unknown, and where the recording goes on beyond the
    length that its header declares."""
    segments: int
    """How many are decoded."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Warned:
    """Something to know about the recording or the notes, told when it is found."""

    warning: TranscriptionWarning


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Completed:
    """All of it; always the last event of a transcription that succeeds."""

    transcription: Transcription


TranscriptionEvent = Started | SegmentDone | Progress | Warned | Completed


_OPENINGS = max(4, 2 * (os.cpu_count() or 1))
"""Recordings opened at once. Opening starts a process, and only then is the length known by which a
recording is let in or refused: were a whole crowd opened at once, all would wait for all. Four at
least, so that one on which the decoder stalls does not keep the others."""


class LongRecordingError(Exception):
    """A recording is longer than its caller waits for; who said ``at_most_seconds`` takes this."""


class Transcriber:
    """Transcribes recordings with one model."""

    def __init__(
        self,
        engine: Engine,
        spec: ModelSpec,
        model: ModelProvenance,
        *,
        limits: ReadingLimits,
        max_open_recordings: int,
        is_background: bool = False,
        metrics: Metrics | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.model = model
        self._is_background = is_background  # of jobs, whose number is bounded by who begins them
        self._engine = engine
        self._spec = spec
        self._limits = limits
        self._max_open = max_open_recordings
        self._metrics = metrics or Metrics()
        self._clock = clock
        self._open = 0
        self._opening = asyncio.Semaphore(_OPENINGS)
        self._coming = 0  # begun and neither admitted nor refused
        self._being_opened = 0

    @property
    def waiting_audio_seconds(self) -> float:
        """Admitted and not yet generated, over all recordings."""
        return self._engine.waiting_audio_seconds

    def seconds_to_next_end(self, caller: Caller | None = None) -> int:
        """After how many whole seconds, 1 or more, the next of the open recordings should end.

        Args:
            caller: The next of this caller's; absent: of anybody's.
        """
        name = None if caller is None else caller.name
        return max(math.ceil(self._engine.seconds_to_next_end(name)), 1)

    def require_capacity(self, caller: Caller = ANONYMOUS) -> None:
        """Refuses what could not even begin to wait; cheap, for asking before an upload.

        Raises:
            OverloadedError: As `transcribe` would.
            QuotaError: As `transcribe` would.
            EngineError: As `transcribe` would: the device does not work now.
        """
        if self._open >= self._max_open:
            retry_after = self._engine.promise(self._engine.seconds_to_next_end())
            raise OverloadedError(
                f"{self._open} recordings are being transcribed, as many as are taken at once;"
                f" try again in {retry_after} s",
                retry_after_seconds=retry_after,
            )
        self._require_room(caller, before=self._coming)

    def _require_room(self, caller: Caller, *, before: int) -> None:
        """Refuses where there is no room.

        Args:
            caller: Who asks.
            before: Recordings whose length nobody knows yet and that are counted as usual ones: to
                open them all first would keep the refusal, and cost a process each.
        """
        if self._is_background:
            return
        self._engine.require_capacity(
            caller=caller.name,
            caller_bound_seconds=caller.limits.max_waiting_audio_seconds,
        )
        self._engine.require_capacity(before * self._engine.typical_audio_seconds)

    async def transcribe(
        self,
        path: Path,
        options: TranscriptionOptions,
        caller: Caller = ANONYMOUS,
        *,
        at_most_seconds: float | None = None,
    ) -> Transcription:
        """Transcribes one recording, or the range of it that the options name.

        Args:
            path: Any audio that `mt3_model/audio` reads.
            options: The caller's.
            caller: Whose limits and turn it is.
            at_most_seconds: What is longer, by its own account, is not for now.

        Raises:
            LongRecordingError: It is longer; nothing has been admitted.
            AudioError: The recording cannot be used.
            OptionError: ``start`` or ``end`` is not a time of this recording, or the model is not
                loaded in the ``precision`` asked for.
            OverloadedError: Too much is waiting already.
            QuotaError: The caller has as much waiting as it may.
            EngineError: The device failed; trying again may help.
        """
        telling = self.stream(path, options, caller, at_most_seconds=at_most_seconds)
        async with contextlib.aclosing(telling) as events:
            async for event in events:
                if isinstance(event, Completed):
                    return event.transcription
        raise AssertionError("a stream ends with Completed, or raises")

    async def stream(
        self,
        path: Path,
        options: TranscriptionOptions,
        caller: Caller = ANONYMOUS,
        *,
        at_most_seconds: float | None = None,
    ) -> AsyncGenerator[TranscriptionEvent]:
        """Transcribes one recording and tells how it goes.

        Closing the generator takes the recording's segments from the engine and ends its reading:
        iterate under `contextlib.aclosing`.

        Args:
            path: As `transcribe`.
            options: As `transcribe`.
            caller: As `transcribe`.
            at_most_seconds: As `transcribe`.

        Yields:
            Started; then, for each segment, SegmentDone and Progress, with Warned where there is
            cause; Completed.

        Raises:
            MT3Error: As `transcribe`; those of opening and admission before the first event.
            ServiceError: As `transcribe`.
        """
        check_precision(options, self.model)
        self.require_capacity(caller)
        limits = self._limits_of(caller)
        with self._told() as told:
            reader = SegmentReader(
                path, options, self._spec, limits=limits, batch_size=self._engine.encode_batch
            )
            try:
                with contextlib.ExitStack() as admitted:
                    async with self._turn_to_open(caller):
                        with span("open"):
                            await reader.open()
                        _refuse_longer(reader.known_seconds, at_most_seconds)
                        admission = admitted.enter_context(
                            self._engine.admit(
                                audio_seconds=reader.estimated_seconds,
                                decoding=options.decoding,
                                caller=caller.name,
                                caller_bound_seconds=caller.limits.max_waiting_audio_seconds,
                                is_background=self._is_background,
                            )
                        )
                    yield Started(
                        audio_seconds=reader.known_seconds,
                        recording_seconds=reader.recording.info.duration_seconds,
                    )
                    telling = self._tell(reader, admission, options, told)
                    with span("generate"):
                        async with contextlib.aclosing(telling) as events:
                            async for event in events:
                                yield event
            finally:
                await reader.close()

    @contextlib.asynccontextmanager
    async def _turn_to_open(self, caller: Caller) -> AsyncGenerator[None]:
        """Waits until a recording may be opened, and until it is admitted counts it as coming.

        Raises:
            OverloadedError: Those before it, of a crowd that waited, have filled the queue.
            QuotaError: The caller's have.
        """
        self._coming += 1
        try:
            async with self._opening:
                self._require_room(caller, before=self._being_opened)
                self._being_opened += 1
                try:
                    yield
                finally:
                    self._being_opened -= 1
        finally:
            self._coming -= 1

    async def _tell(
        self,
        reader: SegmentReader,
        admission: Admission,
        options: TranscriptionOptions,
        told: "_Told",
    ) -> AsyncGenerator[TranscriptionEvent]:
        """What follows Started."""
        assembler = RecordingAssembler(self._spec, options)
        track_numbers = TrackNumbers()
        warned = 0
        async with contextlib.aclosing(self._generated(reader, admission)) as segments:
            async for item, generated in segments:
                segment = item.segment
                assembler.add_segment(segment, generated)
                notes = assembler.close_segment(item.next_start_time)
                if notes:
                    told.first_notes()
                yield SegmentDone(
                    index=segment.index,
                    start=options.start + segment.start_time,
                    end=options.start + self._end_of(segment),
                    notes=notes,
                    tracks=track_numbers.assign(notes),
                )
                for warning in assembler.warnings[warned:]:
                    yield Warned(warning=warning)
                warned = len(assembler.warnings)
                is_last = item.next_start_time is None
                read = reader.recording.seconds
                yield Progress(
                    done_seconds=read if is_last else min(self._end_of(segment), read),
                    total_seconds=read if is_last else reader.total_seconds,
                    segments=segment.index + 1,
                )
        if admission.submitted is not None and admission.queue_seconds is not None:
            began = admission.submitted
            record_span("queue", began=began, ended=began + admission.queue_seconds)
        of_audio = to_transcription_warnings(reader.recording.warnings)
        transcription = assembler.finish(
            model=self.model,
            duration_seconds=reader.recording.seconds,
            recording_seconds=reader.recording_seconds,
            warnings=of_audio,
            queue_seconds=admission.queue_seconds or 0.0,
            wall_seconds=self._clock() - told.began,
        )
        for warning in (*of_audio, *assembler.warnings[warned:]):
            yield Warned(warning=warning)
        told.completed(transcription.duration_seconds)
        yield Completed(transcription=transcription)

    @contextlib.contextmanager
    def _told(self) -> Generator["_Told"]:
        """Counts one recording: as open while it is, and by how it ends."""
        told = _Told(self._metrics, self._clock)
        self._open += 1
        self._metrics.open_recordings.inc()
        outcome = "cancelled"
        try:
            yield told
        except (OverloadedError, QuotaError, LongRecordingError):
            outcome = None  # refused, and so never begun; counted as an error answered
            raise
        except Exception:
            outcome = "failed"
            raise
        finally:
            self._open -= 1
            self._metrics.open_recordings.dec()
            if told.is_complete:
                outcome = "finished"
            if outcome is not None:
                self._metrics.transcriptions.labels(outcome).inc()

    async def _generated(
        self, reader: SegmentReader, admission: Admission
    ) -> AsyncGenerator[tuple["_Submitted", GeneratedSegment]]:
        """Gives the recording's segments in order, without samples, each with its tokens."""
        submitted: asyncio.Queue[_Submitted | None] = asyncio.Queue()
        submitting = asyncio.create_task(self._submit_all(reader, admission, submitted))
        submitting.add_done_callback(lambda _: submitted.put_nowait(None))
        try:
            item = await submitted.get()
            while item is not None:
                # There is room for the following batch before this one's last segment is told,
                # so that waiting for it here delays nothing.
                following = await submitted.get()
                if following is None:
                    await submitting  # raises what reading raised
                else:
                    item.next_start_time = following.segment.start_time
                yield item, await item.tokens
                item = following
            await submitting
        finally:
            submitting.cancel()
            await asyncio.gather(submitting, return_exceptions=True)

    async def _submit_all(
        self,
        reader: SegmentReader,
        admission: Admission,
        submitted: "asyncio.Queue[_Submitted | None]",
    ) -> None:
        """Reads and submits all segments, never too many ahead of the device."""
        room = asyncio.Semaphore(self._engine.segments_ahead)
        reader.read_ahead()
        while batch := await reader.next_batch():
            reader.read_ahead()
            for _ in batch:
                await room.acquire()
            for segment, tokens in zip(batch, self._engine.submit(batch, admission), strict=True):
                tokens.add_done_callback(lambda _: room.release())
                submitted.put_nowait(_Submitted(segment=_without_samples(segment), tokens=tokens))

    def _end_of(self, segment: Segment) -> float:
        """Seconds from the start of the range."""
        return segment.start_time + segment.frames / self._spec.spectrogram.frames_per_second

    def _limits_of(self, caller: Caller) -> ReadingLimits:
        """The server's limits, lowered to the caller's."""
        own = caller.limits.max_audio_seconds
        if own is None or own >= self._limits.max_seconds:
            return self._limits
        return dataclasses.replace(self._limits, max_seconds=own)


@dataclasses.dataclass(kw_only=True, slots=True)
class _Submitted:
    """A segment in the engine, or through it and waiting for those before it."""

    segment: Segment
    tokens: asyncio.Future[GeneratedSegment]
    next_start_time: float | None = None
    """Of the segment after it; None for the last."""


class _Told:
    """Measures one recording's way from its arrival."""

    def __init__(self, metrics: Metrics, clock: Callable[[], float]) -> None:
        self.began = clock()
        self.is_complete = False
        self._metrics = metrics
        self._clock = clock
        self._has_notes = False

    def first_notes(self) -> None:
        """There are notes to tell; the first time counts."""
        if not self._has_notes:
            self._has_notes = True
            self._metrics.first_note_seconds.observe(self._clock() - self.began)

    def completed(self, audio_seconds: float) -> None:
        """All is told."""
        self.is_complete = True
        wall_seconds = self._clock() - self.began
        self._metrics.transcription_seconds.observe(wall_seconds)
        self._metrics.real_time_factor.observe(audio_seconds / max(wall_seconds, 1e-6))


def _refuse_longer(known_seconds: float | None, at_most_seconds: float | None) -> None:
    if at_most_seconds is None or known_seconds is None:
        return
    if known_seconds > at_most_seconds:
        raise LongRecordingError(
            f"the recording has {known_seconds:.0f} s to be transcribed; in one request at most"
            f" {at_most_seconds:g} s are (max_sync_audio_seconds): send it as a job"
        )


def _without_samples(segment: Segment) -> Segment:
    """Lets go of the samples, of which the notes need none: an early segment may end late."""
    return dataclasses.replace(segment, samples=np.empty(0, np.float32))
