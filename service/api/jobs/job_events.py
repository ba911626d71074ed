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
nothing can come before it any more. The database is asked for all jobs that are followed together
(`service/api/jobs/job_watcher.py`), and for a job's items only when some have ended.
"""

import contextlib
import dataclasses
import re
import time
import weakref
from collections import Counter
from collections.abc import AsyncGenerator, Callable
from typing import Any

from fastapi.sse import KEEPALIVE_COMMENT, format_sse_event
from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from mt3_model.errors import OptionError
from mt3_model.export.strict_json import write_json
from service.api.jobs.job_watcher import POLLING_SECONDS, JobWatch, JobWatcher
from service.api.server_sent_events import EVENT_STREAM_HEADERS, MEDIA_TYPE, RECONNECTION
from service.errors import JobNotFoundError, JobsUnavailableError, QuotaError
from service.jobs.documents import item_document, job_document, progress_document, to_time
from service.jobs.job import Item, Job, JobState
from service.jobs.queue import JobQueue
from service.observability.metrics import Metrics

JOB_EVENT_NAMES = ("job.status", "job.progress", "item.completed", "item.failed", "completed")
_STREAM_RETRY_SECONDS = 10
"""After a refusal: whether a stream ends is up to the caller, whose jobs may wait for hours."""
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
class EventCursor:
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


def parse_event_cursor(text: str | None) -> EventCursor:
    """Reads a header ``Last-Event-ID``.

    Raises:
        OptionError: It is no id of these events.
    """
    if text is None:
        return EventCursor()
    found = _ID.fullmatch(text)
    if found is None:
        raise OptionError("Last-Event-ID", "Last-Event-ID is no id of an event of a job")
    return EventCursor(
        state=_STATES[found["state"]],
        ended_at=float(found["when"]),
        number=int(found["number"]) - 1,
    )


class JobStreams:
    """Follows jobs for all who ask. To be used from one event loop."""

    def __init__(
        self, *, heartbeat_seconds: float, max_streams_per_caller: int, metrics: Metrics
    ) -> None:
        """Begins without any.

        Args:
            heartbeat_seconds: Between comments while nothing happens.
            max_streams_per_caller: Event streams that one caller may have open.
            metrics: The server's metrics registry.
        """
        self._heartbeat_seconds = heartbeat_seconds
        self._max_streams = max_streams_per_caller
        self._metrics = metrics
        self._watcher = JobWatcher()
        self._open: Counter[str] = Counter()
        self._is_ending = False

    def begin_draining(self) -> None:
        """Ends all streams: their clients come back, to another server or after the restart."""
        self._is_ending = True
        self._watcher.wake_all()

    def response(
        self, queue: JobQueue, job: Job, cursor: EventCursor, owner: str
    ) -> "JobEventsResponse":
        """Answers with what follows a cursor.

        Args:
            queue: Where the job is.
            job: As it is now.
            cursor: Up to where its history is known.
            owner: The caller whose streams are counted.

        Raises:
            QuotaError: The caller has as many streams open as it may.
        """
        if self._open[owner] >= self._max_streams:
            raise QuotaError(
                f"{self._open[owner]} event streams of this caller are open, as many as one may"
                " have (max_event_streams_per_caller); close some, or ask for the jobs"
                " themselves",
                retry_after_seconds=_STREAM_RETRY_SECONDS,
            )
        self._open[owner] += 1

        def close() -> None:
            self._open[owner] -= 1
            if not self._open[owner]:
                del self._open[owner]

        return JobEventsResponse(self._follow(queue, job, cursor), close, self._metrics)

    async def _follow(
        self, queue: JobQueue, job: Job, cursor: EventCursor
    ) -> AsyncGenerator[bytes]:
        yield RECONNECTION
        with self._watcher.watching(queue, job) as watch:
            told = job.progress.items_done if cursor.state is not None else 0
            while not self._is_ending:
                seen = watch.latest
                if seen is None:
                    return  # deleted, or expired
                if seen.state is not cursor.state and not seen.state.is_final:
                    cursor = dataclasses.replace(cursor, state=seen.state)
                    yield _status(seen, cursor)
                # What ends after this moment is for the next turn, whatever the job is then.
                until = None if seen.state.is_final else time.time() - _SETTLING_SECONDS
                some = False
                while page := await _ended(queue, seen, cursor, until):
                    for item in page:
                        cursor = dataclasses.replace(
                            cursor, ended_at=item.ended_at or 0.0, number=item.number
                        )
                        yield _item(item, cursor)
                    some = True
                if some or seen.progress.items_done != told:
                    told = seen.progress.items_done
                    yield _event("job.progress", progress_document(seen), cursor)
                if seen.state.is_final:
                    yield _status(seen, cursor)  # by the id before: who has only this gets both
                    cursor = dataclasses.replace(cursor, state=seen.state)
                    yield _event("completed", {"job": job_document(seen)}, cursor)
                    return
                async for comment in self._until_changed(watch, seen):
                    yield comment

    async def _until_changed(self, watch: JobWatch, seen: Job) -> AsyncGenerator[bytes]:
        """Waits for news of the job, and until what was new has settled, with heartbeats."""
        while not self._is_ending and watch.latest is seen:
            if _has_ended_items(seen) and watch.unchanged_seconds < 2 * _SETTLING_SECONDS:
                await watch.wait(POLLING_SECONDS)
                return
            await watch.wait(self._heartbeat_seconds)
            if watch.latest is seen:
                yield KEEPALIVE_COMMENT


class JobEventsResponse(StreamingResponse):
    """A job's events over one connection."""

    media_type = MEDIA_TYPE

    def __init__(
        self, events: AsyncGenerator[bytes], close: Callable[[], None], metrics: Metrics
    ) -> None:
        """Prepares the answer.

        Args:
            events: What is sent.
            close: Called once, when the answer has ended or will never be sent.
            metrics: The server's metrics registry.
        """
        self._events = events
        self._close = weakref.finalize(self, close)
        self._metrics = metrics
        super().__init__(events, headers=EVENT_STREAM_HEADERS)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Sends until the job ends or the client goes away."""
        try:
            with self._metrics.streams_open.track_inprogress():
                async with contextlib.aclosing(self._events):
                    await super().__call__(scope, receive, send)
        finally:
            self._close()


async def _ended(
    queue: JobQueue, job: Job, cursor: EventCursor, until: float | None
) -> tuple[Item, ...]:
    """The next items that ended; none where the database is away or the job was deleted."""
    if not _has_ended_items(job):
        return ()
    try:
        return await queue.list_ended_items(
            job.tenant,
            job.job_id,
            after=(cursor.ended_at, cursor.number),
            until=until,
            limit=_PAGE,
        )
    except (JobsUnavailableError, JobNotFoundError):
        return ()


def _has_ended_items(job: Job) -> bool:
    return job.progress.items_succeeded + job.progress.items_failed > 0


def _status(job: Job, cursor: EventCursor) -> bytes:
    at = {JobState.QUEUED: job.created_at, JobState.PROCESSING: job.started_at}
    moment = at.get(job.state, job.ended_at) or job.created_at
    return _event("job.status", {"status": job.state.value, "at": to_time(moment)}, cursor)


def _item(item: Item, cursor: EventCursor) -> bytes:
    name = "item.completed" if item.state is JobState.SUCCEEDED else "item.failed"
    return _event(name, item_document(item), cursor)


def _event(name: str, document: dict[str, Any], cursor: EventCursor) -> bytes:
    return format_sse_event(
        event=name,
        data_str=write_json({"type": name, **document}),
        id=cursor.event_id,
    )
