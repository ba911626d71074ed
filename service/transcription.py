"""A recording on disk -> its transcription, through the engine: the story of a request.

    open the recording            in a thread of its own, off the event loop
    -> ask the engine's admission     refused at once when too much waits
    -> read and submit segments       ahead of the device, but only so far
    -> await each segment's tokens    in the segments' order, whatever order they end in
    -> RecordingAssembler             tokens -> notes
    -> Transcription

No HTTP and no JAX here. At most ``Engine.segments_ahead`` segments of samples, and two batches of
reading, are in memory whatever the recording's length. A cancelled request (its client went away)
leaves the engine, stops reading and closes the recording; nothing stays behind.
"""

import asyncio
import concurrent.futures
import contextlib
import dataclasses
import itertools
import time
from collections.abc import AsyncGenerator, Callable, Iterator
from pathlib import Path

import numpy as np

from mt3_model.audio.isolation import Recording, open_recording
from mt3_model.audio.recording import ReadingLimits, TimeRange
from mt3_model.notes.assembling import RecordingAssembler, of_reading
from mt3_model.notes.generated import GeneratedSegment
from mt3_model.notes.transcription import (
    ModelProvenance,
    Transcription,
    TranscriptionOptions,
    refuse_other_precision,
)
from mt3_model.spec import ModelSpec
from mt3_model.spectrogram.segments import Segment, split_segments
from service.engine.engine import Admission, Engine
from service.errors import OverloadedError

_LEAST_BYTES_PER_SECOND = 4_000
"""32 kbit/s, the least that music is usually coded with: for recordings that do not say their
length."""


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
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.model = model
        self._engine = engine
        self._spec = spec
        self._limits = limits
        self._max_open = max_open_recordings
        self._clock = clock
        self._open = 0

    @property
    def waiting_audio_seconds(self) -> float:
        """Admitted and not yet generated, over all recordings."""
        return self._engine.waiting_audio_seconds

    def require_capacity(self) -> None:
        """Refuses what could not even begin to wait; cheap, for asking before an upload.

        Raises:
            OverloadedError: As `transcribe` would.
        """
        if self._open >= self._max_open:
            raise OverloadedError(
                f"{self._open} recordings are being transcribed, as many as are taken at once;"
                " try again in 1 s",
                retry_after_seconds=1,
            )
        self._engine.require_capacity()

    async def transcribe(self, path: Path, options: TranscriptionOptions) -> Transcription:
        """Transcribes one recording, or the range of it that the options name.

        Args:
            path: Any audio that `mt3_model/audio` reads.
            options: The caller's.

        Raises:
            AudioError: The recording cannot be used.
            OptionError: ``start`` or ``end`` is not a time of this recording, or the model is not
                loaded in the ``precision`` asked for.
            OverloadedError: Too much is waiting already.
            EngineError: The device failed; trying again may help.
        """
        refuse_other_precision(options, self.model)
        self.require_capacity()
        started = self._clock()
        reader = _SegmentReader(path, options, self._spec, self._limits, self._engine.encode_batch)
        assembler = RecordingAssembler(self._spec, options)
        self._open += 1
        try:
            audio_seconds = await reader.open()
            with self._engine.admit(
                audio_seconds=audio_seconds, decoding=options.decoding
            ) as admission:
                async with contextlib.aclosing(self._generated(reader, admission)) as segments:
                    async for segment, generated in segments:
                        assembler.add_segment(segment, generated)
            return assembler.finish(
                model=self.model,
                duration_seconds=reader.recording.seconds,
                warnings=of_reading(reader.recording.warnings),
                queue_seconds=admission.queue_seconds or 0.0,
                wall_seconds=self._clock() - started,
            )
        finally:
            self._open -= 1
            await reader.close()

    async def _generated(
        self, reader: "_SegmentReader", admission: Admission
    ) -> AsyncGenerator[tuple[Segment, GeneratedSegment]]:
        """Gives the recording's segments in order, without samples, each with its tokens."""
        submitted: asyncio.Queue[_Submitted | None] = asyncio.Queue()
        submitting = asyncio.create_task(self._submit_all(reader, admission, submitted))
        submitting.add_done_callback(lambda _: submitted.put_nowait(None))
        try:
            while (item := await submitted.get()) is not None:
                yield item.segment, await item.tokens
            await submitting  # raises what reading raised
        finally:
            submitting.cancel()
            await asyncio.gather(submitting, return_exceptions=True)

    async def _submit_all(
        self,
        reader: "_SegmentReader",
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


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class _Submitted:
    """A segment in the engine, or through it and waiting for those before it."""

    segment: Segment
    tokens: asyncio.Future[GeneratedSegment]


def _without_samples(segment: Segment) -> Segment:
    """Lets go of the samples, of which the notes need none: an early segment may end late."""
    return dataclasses.replace(segment, samples=np.empty(0, np.float32))


class _SegmentReader:
    """Reads one recording's segments in batches, in a thread of its own.

    Opening, reading and closing happen in that one thread in the order asked for, so that a close
    after a cancellation simply comes after the read it overtook: no locks.
    """

    def __init__(
        self,
        path: Path,
        options: TranscriptionOptions,
        spec: ModelSpec,
        limits: ReadingLimits,
        batch_size: int,
    ) -> None:
        self._path = path
        self._options = options
        self._spec = spec
        self._limits = limits
        self._batch_size = batch_size
        self._thread = concurrent.futures.ThreadPoolExecutor(1, thread_name_prefix="reading")
        self._ahead: concurrent.futures.Future[list[Segment]] | None = None
        self._segments: Iterator[Segment] = iter(())
        self._recording: Recording | None = None

    @property
    def recording(self) -> Recording:
        """The opened recording."""
        assert self._recording is not None, "open comes first"
        return self._recording

    async def open(self) -> float:
        """Opens the recording.

        Returns:
            Seconds that will be read: an estimate, rather too long, where no header says it.
        """
        await asyncio.wrap_future(self._thread.submit(self._open))
        asked = TimeRange(start=self._options.start, end=self._options.end)
        duration = self.recording.info.duration_seconds
        if duration is None:
            duration = self._path.stat().st_size / _LEAST_BYTES_PER_SECOND
        return min(asked.seconds_of(duration), self._limits.max_seconds)

    def read_ahead(self) -> None:
        """Starts reading the next batch."""
        self._ahead = self._thread.submit(self._read_batch)

    async def next_batch(self) -> list[Segment]:
        """Gives the batch that `read_ahead` started; an empty one after the last."""
        assert self._ahead is not None, "read_ahead comes first"
        return await asyncio.wrap_future(self._ahead)

    async def close(self) -> None:
        """Closes the recording, after whatever is being read."""
        closing = self._thread.submit(self._close)
        self._thread.shutdown(wait=False)
        await asyncio.wrap_future(closing)

    def _open(self) -> None:
        self._recording = open_recording(
            self._path,
            sample_rate=self._spec.spectrogram.sample_rate,
            start=self._options.start,
            end=self._options.end,
            limits=self._limits,
        )
        self._segments = split_segments(self._recording.blocks(), self._spec)

    def _read_batch(self) -> list[Segment]:
        return list(itertools.islice(self._segments, self._batch_size))

    def _close(self) -> None:
        if self._recording is not None:
            self._recording.close()
