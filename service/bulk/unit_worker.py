"""Transcribe units of recordings to results and error records in the output; one per actor.

    the result is there already?   done: an actor died after the work and before its report
    -> read the object             to this machine's disk
    -> transcribe                  in the engine, whose slots all recordings of the actor share
    -> write the results           each object atomically

Recordings run together, also those of different units, so that the device has segments of some
while others are read or written. A failure affects only its own recording. Storage and device
errors are retried; a recording that cannot be read gets an error record and is not retried; one for
which the storage did not respond for minutes is postponed: nothing is written, and the next run
processes it.

A recording that kills the process (out of memory; decoders run in separate processes) would
kill it again when Ray reruns its unit. So a mark in the output records that a unit was started. A
unit that was started twice and never finished is done one recording at a time, with nothing else in
the process (`service/jobs/running/read_write_lock.py`), and the mark names the recording: if the
process dies then, that recording gets the error record `worker_died`, and the others get their
results.
"""

import asyncio
import dataclasses
import datetime
import hashlib
import itertools
import json
import logging
import tempfile
import time
import uuid
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

from mt3_model.export.formats import export
from mt3_model.notes.transcription import Transcription, TranscriptionOptions
from service.backoff import backoff_seconds
from service.bulk.bulk_plan import BEGUN_PREFIX, BulkPlan, error_key
from service.bulk.listing import has_results
from service.bulk.retry import PAUSES_SECONDS, persist
from service.errors import ItemError, StorageNotFoundError
from service.item_processing import item_error
from service.jobs.running.read_write_lock import ReadWriteLock
from service.observability.logging import log_event
from service.storage.objects import Objects

Transcribe = Callable[[Path, TranscriptionOptions], Awaitable[Transcription]]
_BEGUN_TOGETHER = 2
"""Times that a unit is started normally; the same number as for items of jobs."""
_logger = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class UnitOutcome:
    """The outcomes of a unit's recordings."""

    done: int = 0
    failed: int = 0
    """Recordings with an error record."""
    postponed: int = 0
    """Recordings left for the next run."""
    audio_seconds: float = 0.0
    """Audio of the done recordings, without those found done after an actor died."""

    def plus(self, other: "UnitOutcome") -> "UnitOutcome":
        """Return the sum of both."""
        return UnitOutcome(
            done=self.done + other.done,
            failed=self.failed + other.failed,
            postponed=self.postponed + other.postponed,
            audio_seconds=self.audio_seconds + other.audio_seconds,
        )


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class _Begun:
    """The mark of a running unit."""

    times: int
    alone: str | None = None
    """The recording that runs alone."""


class UnitWorker:
    """Transcribes many units at once, on one event loop."""

    def __init__(
        self,
        plan: BulkPlan,
        inputs: Objects,
        outputs: Objects,
        transcribe: Transcribe,
        *,
        in_flight: int,
        give_up: Callable[[], None] = lambda: None,
        pauses: tuple[float, ...] = PAUSES_SECONDS,
        folder: Path | None = None,
    ) -> None:
        """Prepare the object.

        Args:
            plan: the plan of the run.
            inputs: the storage of the plan's input.
            outputs: the storage of the plan's output.
            transcribe: transcribes a recording with the engine.
            in_flight: maximum number of concurrent recordings.
            give_up: called when every attempt on the device has failed; may end the process.
            pauses: seconds between retries.
            folder: temporary folder for the recordings; None: the system's.
        """
        self._plan = plan
        self._inputs = inputs
        self._outputs = outputs
        self._transcribe = transcribe
        self._room = asyncio.Semaphore(in_flight)
        self._quarantine = ReadWriteLock()
        self._give_up = give_up
        self._pauses = pauses
        self._folder = folder or Path(tempfile.gettempdir())

    async def do(self, keys: Sequence[str]) -> UnitOutcome:
        """Transcribe a unit.

        Raises:
            StorageError: The mark, or an error record, could not be written for minutes.
        """
        if not keys:
            return UnitOutcome()
        mark = self._mark_of(keys)
        before = await self._read_mark(mark)
        times = before.times + 1
        await self._write_mark(mark, _Begun(times=times, alone=before.alone))
        if times <= _BEGUN_TOGETHER:
            outcomes = await asyncio.gather(*map(self._do_together, keys))
        else:
            outcomes = [await self._do_alone(key, mark, times, before.alone) for key in keys]
        await persist(lambda: self._outputs.delete(mark), pauses=self._pauses)
        total = UnitOutcome()
        for outcome in outcomes:
            total = total.plus(outcome)
        return total

    async def _do_together(self, key: str) -> UnitOutcome:
        async with self._room, self._quarantine.shared():
            return await self._do(key)

    async def _do_alone(self, key: str, mark: str, times: int, died: str | None) -> UnitOutcome:
        async with self._quarantine.exclusive():
            if key == died:
                reason = "the process died while it transcribed this recording alone"
                return await self._fail(key, ItemError(reason, code="worker_died"))
            await self._write_mark(mark, _Begun(times=times, alone=key))
            return await self._do(key)

    async def _do(self, key: str) -> UnitOutcome:
        """Retry until the recording is done, fails permanently, or the pauses are used up."""
        for failures in itertools.count(1):
            try:
                return await self._try(key)
            except Exception as error:  # noqa: BLE001 (the recording's own outer edge)
                failure = _failure(error)
                if not failure.is_transient:
                    return await self._fail(key, failure)
                log_event(
                    _logger, "recording_delayed", level=logging.WARNING, code=failure.code,
                    reason=str(failure),
                )  # fmt: skip
                if failures > len(self._pauses):
                    if failure.code == "engine_failure":
                        self._give_up()
                    return UnitOutcome(postponed=1)
                await asyncio.sleep(backoff_seconds(failures, self._pauses, spread=0.25))
        raise AssertionError("the last try returns")

    async def _try(self, key: str) -> UnitOutcome:
        if await has_results(self._outputs, self._plan, key):
            return UnitOutcome(done=1)
        path = self._folder / f"mt3-bulk-{uuid.uuid4().hex}"
        try:
            try:
                await self._inputs.get_to(key, path)
            except StorageNotFoundError as error:
                reason = "it no longer exists"
                raise ItemError(reason, code="input_not_found") from error
            transcription = await self._transcribe(path, self._plan.options)
        finally:
            await asyncio.to_thread(path.unlink, missing_ok=True)
        for form, result in zip(self._plan.forms, self._plan.result_keys(key), strict=True):
            content = await asyncio.to_thread(
                export, transcription, form,
                transcription_id=_transcription_id(key), created=int(time.time()),
            )  # fmt: skip
            await self._outputs.put(result, content)
        if self._plan.retry_failed:
            await self._outputs.delete(error_key(key))
        return UnitOutcome(done=1, audio_seconds=transcription.usage.audio_seconds)

    async def _fail(self, key: str, failure: ItemError) -> UnitOutcome:
        record = {
            "input": key,
            "code": failure.code,
            "message": str(failure),
            "at": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        }
        content = json.dumps(record, ensure_ascii=False).encode()
        await persist(lambda: self._outputs.put(error_key(key), content), pauses=self._pauses)
        return UnitOutcome(failed=1)

    def _mark_of(self, keys: Sequence[str]) -> str:
        unit = hashlib.sha256("\n".join(keys).encode()).hexdigest()[:32]
        return f"{BEGUN_PREFIX}/{self._plan.run_id}/{unit}"

    async def _read_mark(self, mark: str) -> _Begun:
        try:
            content = await persist(lambda: self._outputs.get(mark), pauses=self._pauses)
        except StorageNotFoundError:
            return _Begun(times=0)
        return _Begun(**json.loads(content))

    async def _write_mark(self, mark: str, begun: _Begun) -> None:
        content = json.dumps(dataclasses.asdict(begun)).encode()
        await persist(lambda: self._outputs.put(mark, content), pauses=self._pauses)


def _failure(error: Exception) -> ItemError:
    """Convert an error to an `ItemError`; unexpected errors are logged with their traces."""
    foreseen = item_error(error)
    if foreseen.code != "internal_error":
        return foreseen
    log_event(_logger, "recording_failed", level=logging.ERROR, error=error)
    return ItemError(f"{type(error).__name__}: {error}", code="internal_error")


def _transcription_id(key: str) -> str:
    """Return an id made from the key only, so that repeated work writes the same file."""
    return f"tr_{hashlib.sha256(key.encode()).hexdigest()[:32]}"
