"""Process one item of a job, from its recording to a stored result; independent of the queue.

    the result exists already?     done: a worker died after storing it and before recording it
    -> fetch the recording         from the storage, or by a fetcher for URLs and objects
    -> transcribe                  through the engine that all requests of this process share, once
                                   the device limiter admits it (`ItemHooks.hold_device`)
    -> store the result            one record, from which every format is written later

Every failure becomes an `ItemError`, which says whether a retry may help: storage and device may
recover, an unreadable recording will not. Several items run at once, so that the device has
segments of the next recordings while one is read or written.
"""

import asyncio
import contextlib
import dataclasses
import math
import tempfile
import uuid
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from pathlib import Path
from typing import BinaryIO, Protocol

from mt3_model.errors import (
    AudioEmptyError,
    AudioError,
    AudioFormatError,
    AudioLimitError,
    AudioTrackError,
    DecoderKilledError,
    DecoderStartError,
    MT3Error,
    OptionError,
)
from mt3_model.export.record import from_record, to_record
from mt3_model.notes.transcription import Transcription, TranscriptionOptions
from service.auth.caller import Caller, CallerLimits
from service.errors import (
    EngineError,
    ItemError,
    NotReadyError,
    OverloadedError,
    QuotaError,
    ServiceError,
    StorageError,
    StorageFullError,
    StorageNotFoundError,
)
from service.jobs.job import Item, ItemHooks, Job, Outcome
from service.recordings.work import Written
from service.storage.objects import Objects
from service.transcriber import OnLength, Transcriber

Transcribe = Callable[[Path, TranscriptionOptions, str, OnLength], Awaitable[Written]]
"""Transcribes a recording on disk to a record, given the options, the caller's name and
`OnLength`."""
JOBS_CALLER = Caller(name="/jobs", scopes=frozenset())
"""The one caller of all jobs in the engine; no key can have its name. A request therefore waits for
at most one segment of all jobs between two of its own, however many tenants have jobs. The queue
decides which tenant's items are started."""
_SEGMENTS_OF_AN_ITEM = 16
"""Segments in half a minute: the number of slots that a short recording fills alone."""
_BESIDE = 1.5
"""Items in flight per item that fits the device: some are being read or written."""
_FEWEST_ITEMS = 4
"""Minimum number of items in flight: with fewer, none can be reserved for another tenant."""
_HEALTH_SECONDS = 1.0
"""Time between two checks of an unhealthy device by waiting items."""
Fetch = Callable[[str, Path], Awaitable[None]]
"""Fetches the recording of a caller's reference into a file; raises `ItemError`."""

_PERMANENT = {
    AudioFormatError: "audio_undecodable",
    AudioEmptyError: "audio_empty",
    AudioLimitError: "audio_too_long",
    AudioTrackError: "audio_track_not_found",
    OptionError: "invalid_option",
}
_TRANSIENT = {
    DecoderStartError: "decoder_not_started",
    DecoderKilledError: "decoder_killed",
    EngineError: "engine_failure",
    NotReadyError: "not_ready",
    OverloadedError: "overloaded",
    QuotaError: "overloaded",
    StorageFullError: "storage_full",
    StorageError: "storage_unavailable",
}


class TemporaryFiles(Protocol):
    """Creates files for recordings; those of a killed process are found and removed later."""

    def new_file(self) -> tuple[Path, BinaryIO]:
        """Create an empty file, open for writing."""
        ...

    def remove(self, path: Path) -> None:
        """Remove a file made here."""
        ...


class ItemProcessor:
    """Processes items; `process` is the queue's handler."""

    def __init__(
        self,
        objects: Objects,
        transcribe: Transcribe,
        *,
        fetchers: Mapping[str, Fetch] | None = None,
        folder: Path | None = None,
        files: TemporaryFiles | None = None,
    ) -> None:
        """Prepare.

        Args:
            objects: storage of uploads and results.
            transcribe: transcribes a recording through the engine.
            fetchers: fetchers by kind of source, except uploads; other kinds fail.
            folder: folder of temporary files; None: the system's temporary folder.
            files: makes temporary files, in place of ``folder``.
        """
        self._objects = objects
        self._transcribe = transcribe
        self._fetchers = dict(fetchers or {})
        self._folder = folder
        self._files = files

    async def process(self, item: Item, job: Job, hooks: ItemHooks | None = None) -> Outcome:
        """Process an item, unless its result exists.

        Raises:
            ItemError: The item cannot be processed, or not now.
        """
        hooks = hooks or ItemHooks()
        try:
            finished = await self._finished(item)
            if finished is None:
                async with self._local_file() as path:
                    await self._fetch(item, path)
                    async with hooks.hold_device():
                        finished = await self._transcribe(
                            path, job.options, job.tenant, hooks.on_length
                        )
                    await self._objects.put(item.result_key, finished.content)
        except (MT3Error, ServiceError, OSError) as error:
            raise item_error(error) from error
        return Outcome(audio_seconds=finished.usage.audio_seconds, warnings=finished.warnings)

    async def _finished(self, item: Item) -> Transcription | None:
        try:
            return from_record(await self._objects.get(item.result_key))
        except StorageNotFoundError:
            return None

    async def _fetch(self, item: Item, path: Path) -> None:
        source = item.source
        if source.kind == "upload":
            try:
                await self._objects.get_to(source.reference, path)
            except StorageNotFoundError as error:
                raise ItemError("the upload no longer exists", code="input_not_found") from error
            return
        fetch = self._fetchers.get(source.kind)
        if fetch is None:
            raise ItemError(
                f"this deployment accepts no inputs of the kind {source.kind}", code="input_refused"
            )
        await fetch(source.reference, path)

    @contextlib.asynccontextmanager
    async def _local_file(self) -> AsyncGenerator[Path]:
        if self._files is not None:
            path, file = self._files.new_file()
            file.close()
            try:
                yield path
            finally:
                self._files.remove(path)
            return
        folder = self._folder or Path(tempfile.gettempdir())
        path = folder / f"mt3-item-{uuid.uuid4().hex}"
        try:
            yield path
        finally:
            await asyncio.shield(asyncio.to_thread(path.unlink, missing_ok=True))


def items_in_flight(slots: int) -> int:
    """Return how many items at once keep a device full.

    Args:
        slots: segments that generate at once.
    """
    return max(math.ceil(_BESIDE * slots / _SEGMENTS_OF_AN_ITEM), _FEWEST_ITEMS)


def transcribe_when_healthy(
    transcriber: Transcriber,
    is_healthy: Callable[[], bool],
    limits_of: Callable[[str], CallerLimits],
) -> Transcribe:
    """Return a function that transcribes items through the engine, as `JOBS_CALLER`.

    Args:
        transcriber: a background transcriber, which takes no room from requests.
        is_healthy: returns whether the device works. While it does not, items wait, and this
            does not count as an attempt, because none of them is the cause.
        limits_of: returns the limits of a caller; only the longest recording counts here.
    """

    async def transcribe(
        path: Path, options: TranscriptionOptions, tenant: str, on_length: OnLength
    ) -> Written:
        while not is_healthy():  # noqa: ASYNC110 (it takes seconds or minutes)
            await asyncio.sleep(_HEALTH_SECONDS)
        # The queue decides whose items come next and how many may wait.
        limits = CallerLimits(max_audio_seconds=limits_of(tenant).max_audio_seconds)
        caller = dataclasses.replace(JOBS_CALLER, limits=limits)
        written = await transcriber.write(
            path, options, caller, write=to_record, on_length=on_length
        )
        assert written is not None, "without a bound, nothing is too long"
        return written

    return transcribe


def item_error(error: Exception) -> ItemError:
    """Turn an error into an ItemError with its code, and whether a retry may help."""
    if isinstance(error, ItemError):
        return error
    for kind, code in _PERMANENT.items():
        if isinstance(error, kind):
            return ItemError(str(error), code=code)
    if isinstance(error, AudioError):
        return ItemError(str(error), code="audio_undecodable")
    for kind, code in _TRANSIENT.items():
        if isinstance(error, kind):
            return ItemError(str(error), code=code, is_transient=True)
    if isinstance(error, OSError):
        reason = error.strerror or str(error)
        message = f"the worker's disk failed: {reason}"
        return ItemError(message, code="no_storage", is_transient=True)
    return ItemError(str(error), code="internal_error", is_transient=True)
