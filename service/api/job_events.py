"""What happens to a job -> server-sent events, which any process of the deployment can take up.

Nothing is kept for it: an event's id *is* the place in the job's history up to which all is told
(the state, and the item that ended last). A client that comes back with `Last-Event-ID`, to this
server or another, after a restart even, is told what followed. Several events may have the same id,
where no item ended between them.

    job.status        the job entered a state
    item.completed    an item succeeded, with its place and its result's
    item.failed       an item failed, with why
    job.progress      the counts, after some items ended
    completed         the job ended: the whole job; always the last

Items are told in the order in which they ended. Workers note that by their own clocks and in their
own transactions, so while a job goes on an item is told `_SETTLING_SECONDS` after its end, when
nothing can come before it any more. The database is asked for a job twice a second, once for all
who follow it; for its items only when some have ended.
"""

import asyncio
import contextlib
import dataclasses
import re
import time
from collections.abc import AsyncGenerator, Callable, Generator
from typing import Any

from fastapi.sse import KEEPALIVE_COMMENT, format_sse_event
from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from mt3_model.errors import OptionError
from mt3_model.export.strict_json import write_json
from service.api.events import EVENT_STREAM_HEADERS, MEDIA_TYPE, RECONNECTION
from service.errors import JobNotFoundError, JobsUnavailableError
from service.jobs.documents import item_document, job_document, progress_document, to_time
from service.jobs.job import Item, Job, JobState
from service.jobs.queue import JobQueue
from service.observability.metrics import Metrics

JOB_EVENT_NAMES = ("job.status", "job.progress", "item.completed", "item.failed", "completed")
_POLLING_SECONDS = 0.5
_SETTLING_SECONDS = 1.0
"""Transactions of an item take milliseconds; clocks kept by NTP differ by less."""
_PAGE = 200
_LETTERS = {
    JobState.QUEUED: "q", JobState.PROCESSING: "p", JobState.SUCCEEDED: "s", JobState.FAILED: "f",
    JobState.CANCELED: "c",
}  # fmt: skip
_STATES = {letter: state for state, letter in _LETTERS.items()}
_ID = re.compile(r"(?P<state>[qpsfc])-(?P<when>\d{1,12}\.\d{1,17})-(?P<number>\d{1,7})")


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Place:
    """Up to where a job's history is told."""

    state: JobState | None = None
    """The last told; absent: none."""
    ended_at: float = 0.0
    """Of the item told last, seconds since 1970."""
    number: int = -1

    @property
    def event_id(self) -> str:
        """Its text, for ``id:``: the moment to its last bit, so that it is found again."""
        state = self.state or JobState.QUEUED
        return f"{_LETTERS[state]}-{self.ended_at!r}-{self.number + 1}"


def parse_place(text: str | None) -> Place:
    """Reads a header ``Last-Event-ID``.

    Raises:
        OptionError: It is no id of these events.
    """
    if text is None:
        return Place()
    found = _ID.fullmatch(text)
    if found is None:
        raise OptionError("Last-Event-ID", "Last-Event-ID is no id of an event of a job")
    return Place(
        state=_STATES[found["state"]],
        ended_at=float(found["when"]),
        number=int(found["number"]) - 1,
    )


class JobWatches:
    """Follows jobs for all who ask, with one look at the database for each job."""

    def __init__(self, *, heartbeat_seconds: float, metrics: Metrics) -> None:
        """Begins without any.

        Args:
            heartbeat_seconds: Between comments while nothing happens.
            metrics: The server's.
        """
        self._heartbeat_seconds = heartbeat_seconds
        self._metrics = metrics
        self._watches: dict[tuple[str, str], _Watch] = {}
        self._ending = asyncio.Event()

    def begin_draining(self) -> None:
        """Ends all streams: their clients come back, to another server or after the restart."""
        self._ending.set()

    def response(self, queue: JobQueue, job: Job, place: Place) -> "JobEventsResponse":
        """Answers with what follows a place."""
        return JobEventsResponse(self._follow(queue, job, place), self._metrics)

    async def _follow(self, queue: JobQueue, job: Job, place: Place) -> AsyncGenerator[bytes]:
        yield RECONNECTION
        with self._watching(queue, job) as watch:
            told = job.progress.items_done if place.state is not None else 0
            while not self._ending.is_set():
                seen = watch.latest
                if seen is None:
                    return  # deleted, or expired
                if seen.state is not place.state and not seen.state.is_final:
                    place = dataclasses.replace(place, state=seen.state)
                    yield _status(seen, place)
                # What ends after this moment is for the next turn, whatever the job is then.
                until = None if seen.state.is_final else time.time() - _SETTLING_SECONDS
                some = False
                while page := await _ended(queue, seen, place, until):
                    for item in page:
                        place = dataclasses.replace(
                            place, ended_at=item.ended_at or 0.0, number=item.number
                        )
                        yield _item(item, place)
                    some = True
                if some or seen.progress.items_done != told:
                    told = seen.progress.items_done
                    yield _event("job.progress", progress_document(seen), place)
                if seen.state.is_final:
                    yield _status(seen, place)  # by the id before: who has only this gets both
                    place = dataclasses.replace(place, state=seen.state)
                    yield _event("completed", {"job": job_document(seen)}, place)
                    return
                async for comment in self._until_changed(watch, seen):
                    yield comment

    async def _until_changed(self, watch: "_Watch", seen: Job) -> AsyncGenerator[bytes]:
        """Waits for news of the job, and until what was new has settled, with heartbeats."""
        began = time.monotonic()
        while not self._ending.is_set():
            changed = watch.changed
            waiting = [asyncio.ensure_future(e.wait()) for e in (changed, self._ending)]
            try:
                await asyncio.wait(
                    waiting,
                    timeout=self._heartbeat_seconds,
                    return_when=asyncio.FIRST_COMPLETED,
                )
            finally:
                for task in waiting:
                    task.cancel()
            if watch.latest is None or watch.latest != seen:
                return
            if watch.unchanged_seconds < 2 * _SETTLING_SECONDS:
                return
            if time.monotonic() - began >= self._heartbeat_seconds:
                began = time.monotonic()
                yield KEEPALIVE_COMMENT

    @contextlib.contextmanager
    def _watching(self, queue: JobQueue, job: Job) -> Generator["_Watch"]:
        key = job.tenant, job.job_id
        watch = self._watches.get(key)
        if watch is None:
            watch = self._watches[key] = _Watch(queue, job, lambda: self._watches.pop(key, None))
        with watch.following():
            yield watch


class _Watch:
    """Looks at one job again and again, as long as somebody follows it."""

    def __init__(self, queue: JobQueue, job: Job, on_unwatched: Callable[[], object]) -> None:
        self.latest: Job | None = job
        self.changed = asyncio.Event()
        self._changed_at = time.monotonic()
        self._queue = queue
        self._on_unwatched = on_unwatched
        self._followers = 0
        self._task = asyncio.create_task(self._look(job))

    @property
    def unchanged_seconds(self) -> float:
        return time.monotonic() - self._changed_at

    @contextlib.contextmanager
    def following(self) -> Generator[None]:
        self._followers += 1
        try:
            yield
        finally:
            self._followers -= 1
            if not self._followers:
                self._task.cancel()
                self._on_unwatched()

    async def _look(self, job: Job) -> None:
        while True:
            await asyncio.sleep(_POLLING_SECONDS)
            try:
                latest = await self._queue.get(job.tenant, job.job_id)
            except JobNotFoundError:
                latest = None
            except JobsUnavailableError:
                continue  # it comes back, and the stream goes on
            if latest != self.latest:
                self._changed_at = time.monotonic()
            self.latest = latest
            self.changed.set()
            self.changed = asyncio.Event()
            if latest is None:
                return


class JobEventsResponse(StreamingResponse):
    """A job's events over one connection."""

    media_type = MEDIA_TYPE

    def __init__(self, events: AsyncGenerator[bytes], metrics: Metrics) -> None:
        """Prepares the answer."""
        self._events = events
        self._metrics = metrics
        super().__init__(events, headers=EVENT_STREAM_HEADERS)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Sends until the job ends or the client goes away."""
        with self._metrics.streams_open.track_inprogress():
            async with contextlib.aclosing(self._events):
                await super().__call__(scope, receive, send)


async def _ended(queue: JobQueue, job: Job, place: Place, until: float | None) -> tuple[Item, ...]:
    """The next items that ended; none where the database is away or the job was deleted."""
    try:
        return await queue.list_ended_items(
            job.tenant,
            job.job_id,
            after=(place.ended_at, place.number),
            until=until,
            limit=_PAGE,
        )
    except (JobsUnavailableError, JobNotFoundError):
        return ()


def _status(job: Job, place: Place) -> bytes:
    at = {JobState.QUEUED: job.created_at, JobState.PROCESSING: job.started_at}
    moment = at.get(job.state, job.ended_at) or job.created_at
    return _event("job.status", {"status": job.state.value, "at": to_time(moment)}, place)


def _item(item: Item, place: Place) -> bytes:
    name = "item.completed" if item.state is JobState.SUCCEEDED else "item.failed"
    return _event(name, item_document(item), place)


def _event(name: str, document: dict[str, Any], place: Place) -> bytes:
    return format_sse_event(
        event=name,
        data_str=write_json({"type": name, **document}),
        id=place.event_id,
    )
