"""Opens recordings and admits them to the engine, or refuses them.

    room for another open recording     refused at once if the maximum is open already
    -> a turn to open it                few at a time; each starts a process
    -> open it                          its length is known only from here on
    -> admit it to the engine           refused when too much audio waits

A recording that waits for its turn counts as one of typical length, so that if very many arrive at
once, most are refused before their processes start.
"""

import asyncio
import contextlib
import dataclasses
import math
import time
from collections.abc import AsyncGenerator, Callable, Generator
from pathlib import Path

from mt3_model.audio.recording import ReadingLimits
from mt3_model.cores import usable_cores
from mt3_model.notes.instruments_option import parse_instruments
from mt3_model.notes.named_instruments import forbid_unnamed
from mt3_model.notes.transcription import TranscriptionOptions
from service.auth.caller import Caller
from service.engine.admission import Admission
from service.engine.engine import Engine
from service.errors import OverloadedError
from service.observability.metrics import Metrics
from service.observability.tracing import span
from service.observability.transcription_metrics import TranscriptionMetrics
from service.recordings.segment_reader import SegmentReader
from service.recordings.work import LocalRecordingWork, OpenWork, RecordingRequest

_MAX_OPENINGS = max(4, 2 * usable_cores())
"""Recordings opened at once. Opening starts a process, and only an opened recording has the length
by which it is admitted or refused: if very many were opened at once, all of them would be slow. At
least four, so that one on which the decoder stalls does not block the others."""

_FEW_RECORDINGS = 4
"""Open recordings up to which the device has rows to spare."""
_SMALL_BATCH = 16
"""On one H200, a song alone takes a tenth less time than in batches of 64, and 64 songs at once a
tenth more: each batch is a message to the server's process."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class AdmittedRecording:
    """A recording that is open and admitted."""

    reader: SegmentReader
    admission: Admission
    metrics: TranscriptionMetrics


class RecordingOpener:
    """Opens and admits recordings. To be used from one event loop.

    Args:
        engine: the engine that all recordings share.
        limits: the server's limits on a recording; a caller's own limits apply in addition.
        max_open_recordings: maximum number of recordings read at once: each holds a process and a
            window of samples.
        is_background: whether the recordings belong to jobs, which take no room from requests.
        open_work: begins the host's work on a recording, here or in another process.
        metrics: the server's metrics registry.
        clock: clock of the reported durations.
    """

    def __init__(
        self,
        engine: Engine,
        *,
        limits: ReadingLimits,
        max_open_recordings: int,
        is_background: bool = False,
        open_work: OpenWork = LocalRecordingWork,
        metrics: Metrics | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._engine = engine
        self._limits = limits
        self._max_open = max_open_recordings
        self._is_background = is_background
        self._open_work = open_work
        self._metrics = metrics or Metrics()
        self._clock = clock
        self._open = 0
        self._opening = asyncio.Semaphore(_MAX_OPENINGS)
        self._not_admitted = 0  # started, and neither admitted nor refused
        self._being_opened = 0  # of these, past the semaphore

    def require_capacity(self, caller: Caller) -> None:
        """Refuse a recording that could not even be queued; cheap, for use before an upload.

        Raises:
            OverloadedError: Too much is already waiting, or too many recordings are open.
            QuotaError: The caller has reached its limit of waiting audio.
            EngineError: The device does not work at present.
        """
        if self._open >= self._max_open:
            retry_after = self._engine.admissions.retry_after_next_end()
            raise OverloadedError(
                f"{self._open} recordings are being transcribed, which is the limit;"
                f" try again in {retry_after} s",
                retry_after_seconds=retry_after,
            )
        self._require_room(caller, before=self._not_admitted)

    @contextlib.asynccontextmanager
    async def open(
        self,
        path: Path,
        options: TranscriptionOptions,
        caller: Caller,
        *,
        max_seconds: float = math.inf,
    ) -> AsyncGenerator[AdmittedRecording | None]:
        """Open and admit a recording for the length of the context.

        Args:
            path: any audio that `mt3_model/audio` reads.
            options: the caller's options.
            caller: sender of the recording, with its limits.
            max_seconds: longest declared length of the range to transcribe.

        Yields:
            The recording; None if its range is longer.

        Raises:
            AudioError: The recording cannot be used.
            OptionError: ``start`` or ``end`` is not a time of this recording, or ``instruments``
                cannot be read.
            OverloadedError: as in `require_capacity`.
            QuotaError: as in `require_capacity`.
            EngineError: as in `require_capacity`.
        """
        named = parse_instruments(options.instruments)
        self.require_capacity(caller)
        with contextlib.ExitStack() as stack:
            metrics = stack.enter_context(TranscriptionMetrics(self._metrics, self._clock))
            stack.enter_context(self._counted_as_open())
            request = RecordingRequest(
                path=path, options=options, spec=self._engine.spec, limits=self._limits_of(caller)
            )
            reader = SegmentReader(request, batch_size=self._batch_size, open_work=self._open_work)
            try:
                with contextlib.ExitStack() as admitted:
                    async with self.opening_turn(caller):
                        with span("open"):
                            await reader.open()
                        if (reader.known_seconds or 0.0) > max_seconds:
                            metrics.refuse()
                            yield None
                            return
                        admission = admitted.enter_context(
                            self._engine.admit(
                                audio_seconds=reader.estimated_work_seconds,
                                decoding=options.decoding,
                                forbidden=forbid_unnamed(self._engine.spec.vocabulary, named),
                                caller=caller.name,
                                caller_bound_seconds=caller.limits.max_waiting_audio_seconds,
                                is_background=self._is_background,
                            )
                        )
                    yield AdmittedRecording(reader=reader, admission=admission, metrics=metrics)
            finally:
                await reader.close()

    @property
    def _batch_size(self) -> int:
        """Number of segments read at a time: few while the device waits for each of them."""
        full = self._engine.encode_batch
        return full if self._open > _FEW_RECORDINGS else min(full, _SMALL_BATCH)

    @contextlib.asynccontextmanager
    async def opening_turn(self, caller: Caller) -> AsyncGenerator[None]:
        """Wait until a recording may be opened; until the context ends, count it as expected.

        Raises:
            OverloadedError: Recordings that waited before it have filled the queue.
            QuotaError: The caller's own recordings have filled its share.
        """
        self._not_admitted += 1
        try:
            async with self._opening:
                self._require_room(caller, before=self._being_opened)
                self._being_opened += 1
                try:
                    yield
                finally:
                    self._being_opened -= 1
        finally:
            self._not_admitted -= 1

    def _require_room(self, caller: Caller, *, before: int) -> None:
        """Refuse a recording for which there is no room.

        Args:
            caller: its sender.
            before: recordings that come before it and whose length is not known yet; each counts as
                a typical one. Opening them all first would refuse as many, at a process each.
        """
        if self._is_background:
            return
        self._engine.require_capacity(
            caller=caller.name,
            caller_bound_seconds=caller.limits.max_waiting_audio_seconds,
        )
        self._engine.require_capacity(before * self._engine.admissions.typical_audio_seconds)

    @contextlib.contextmanager
    def _counted_as_open(self) -> Generator[None]:
        self._open += 1
        try:
            yield
        finally:
            self._open -= 1

    def _limits_of(self, caller: Caller) -> ReadingLimits:
        """Return the server's limits, lowered to the caller's."""
        own = caller.limits.max_audio_seconds
        if own is None or own >= self._limits.max_seconds:
            return self._limits
        return dataclasses.replace(self._limits, max_seconds=own)
