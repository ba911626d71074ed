"""What one item of a job is: recording in, result out. Nothing here of the queue's mechanics.

    the result is there already?   done: a worker died between its work and the note of it
    -> fetch the recording         from our storage, or by what is handed in for URLs and objects
    -> transcribe                  through the engine that all requests of this process share, once
                                   there is a place at the device (`ItemHooks.hold_device`)
    -> store the result            one record, from which every form is written later

Whatever goes wrong becomes an `ItemError` that says whether trying again may help: storage and
device may come back, a recording that cannot be read stays as it is. Several items run at once, so
that the device has segments of the next recordings while one is read or written.
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
from service.storage.objects import Objects
from service.transcriber import Transcriber
from service.transcription_events import Completed, Started

OnLength = Callable[[float], Awaitable[None]]
"""Takes the length of a recording, in seconds, as soon as it is open."""
Transcribe = Callable[[Path, TranscriptionOptions, str, OnLength], Awaitable[Transcription]]
"""Transcribes a recording on disk, given the options, the caller's name and `OnLength`."""
JOBS_CALLER = Caller(name="/jobs", scopes=frozenset())
"""Whose turn all items of jobs use in the engine: one for all of them, which no key can have. So a
request waits for at most one segment of all jobs between two of its own, however many tenants have
jobs; whose items are begun is the queue's to share out."""
_SEGMENTS_OF_AN_ITEM = 16
"""Of a recording of half a minute: so many slots does a short one fill by itself."""
_BESIDE = 1.5
"""Items begun for each that the device has room for: some are being read or written."""
_FEWEST_ITEMS = 4
"""In flight: with fewer there is no place to keep for another tenant's next one."""
_HEALTH_SECONDS = 1.0
"""Between two looks at a device that is given up, by items that wait for it."""
Fetch = Callable[[str, Path], Awaitable[None]]
"""Brings what a caller's reference names into a file; raises `ItemError`."""

_PERMANENT = {
    AudioFormatError: "audio_undecodable",
    AudioEmptyError: "audio_empty",
    AudioLimitError: "audio_too_long",
    AudioTrackError: "audio_track_not_found",
    OptionError: "invalid_option",
}
_PASSING = {
    DecoderKilledError: "decoder_killed",
    EngineError: "engine_failure",
    NotReadyError: "not_ready",
    OverloadedError: "overloaded",
    QuotaError: "overloaded",
    StorageFullError: "storage_full",
    StorageError: "storage_unavailable",
}


class TemporaryFiles(Protocol):
    """Where recordings lie meanwhile, such that those of a killed process are found and removed."""

    def new_file(self) -> tuple[Path, BinaryIO]:
        """Makes an empty file, open for writing."""
        ...

    def remove(self, path: Path) -> None:
        """Removes one made here."""
        ...


class ItemProcessor:
    """Does items; its `process` is the queue's handler."""

    def __init__(
        self,
        objects: Objects,
        transcribe: Transcribe,
        *,
        fetchers: Mapping[str, Fetch] | None = None,
        folder: Path | None = None,
        files: TemporaryFiles | None = None,
    ) -> None:
        """Prepares.

        Args:
            objects: Where uploads are and results go.
            transcribe: Of the engine.
            fetchers: For the kinds of sources that are not uploads; a kind without one fails.
            folder: Where a recording lies meanwhile; absent: the system's temporary folder.
            files: What makes and removes its file, in place of a folder.
        """
        self._objects = objects
        self._transcribe = transcribe
        self._fetchers = dict(fetchers or {})
        self._folder = folder
        self._files = files

    async def process(self, item: Item, job: Job, hooks: ItemHooks | None = None) -> Outcome:
        """Does an item, unless it is done.

        Raises:
            ItemError: It cannot be done, or not now.
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
                    await self._objects.put(item.result_key, to_record(finished))
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
                raise ItemError(
                    "the upload is not there any more", code="input_not_found"
                ) from error
            return
        fetch = self._fetchers.get(source.kind)
        if fetch is None:
            raise ItemError(
                f"this deployment takes no inputs of the kind {source.kind}", code="input_refused"
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
    """How many items at once keep a device full.

    Args:
        slots: Segments that generate at once.
    """
    return max(math.ceil(_BESIDE * slots / _SEGMENTS_OF_AN_ITEM), _FEWEST_ITEMS)


def transcribe_when_healthy(
    transcriber: Transcriber,
    is_healthy: Callable[[], bool],
    limits_of: Callable[[str], CallerLimits],
) -> Transcribe:
    """Gives what transcribes items: by the engine of all requests, in a turn of the jobs' own.

    Args:
        transcriber: For jobs: it takes no room from requests.
        is_healthy: Whether the device works. While it does not, items wait for it: none of them is
            to blame, and none uses up a try.
        limits_of: The limits of a caller's key; of them, how long a recording may be counts here.
    """

    async def transcribe(
        path: Path, options: TranscriptionOptions, tenant: str, on_length: OnLength
    ) -> Transcription:
        while not is_healthy():  # noqa: ASYNC110 (seconds or minutes: nothing is lost by a look)
            await asyncio.sleep(_HEALTH_SECONDS)
        # Whose items come next is settled in the queue, and how much may wait there too.
        limits = CallerLimits(max_audio_seconds=limits_of(tenant).max_audio_seconds)
        caller = dataclasses.replace(JOBS_CALLER, limits=limits)
        telling = transcriber.stream(path, options, caller)
        async with contextlib.aclosing(telling) as events:
            async for event in events:
                if isinstance(event, Started):
                    if event.audio_seconds is not None:
                        await on_length(event.audio_seconds)
                elif isinstance(event, Completed):
                    return event.transcription
        raise AssertionError("a stream ends with Completed, or raises")

    return transcribe


def item_error(error: Exception) -> ItemError:
    """Any error of ours -> whether and why the item failed."""
    if isinstance(error, ItemError):
        return error
    for kind, code in _PERMANENT.items():
        if isinstance(error, kind):
            return ItemError(str(error), code=code)
    if isinstance(error, AudioError):
        return ItemError(str(error), code="audio_undecodable")
    for kind, code in _PASSING.items():
        if isinstance(error, kind):
            return ItemError(str(error), code=code, is_transient=True)
    if isinstance(error, OSError):
        reason = error.strerror or str(error)
        message = f"the worker's disk failed: {reason}"
        return ItemError(message, code="no_storage", is_transient=True)
    return ItemError(str(error), code="internal_error", is_transient=True)
