"""The history of a job -> server-sent events, which any process of the deployment can resume.

The server keeps no events. The id of an event is a cursor into the history of the job: its last
state sent, and the last ended item sent. A client that reconnects with `Last-Event-ID`, to this
server or another one, even after a restart, gets the events after that one. Several events have the
same id if no item ended between them.

    job.status        the job entered a state
    item.completed    an item succeeded, with its number and the path of its result
    item.failed       an item failed, with the reason
    job.progress      the counts, after items ended
    completed         the job ended, with the whole job; always the last event

Items are sent in the order in which they ended. Workers record that by their own clocks and in
their own transactions, so while a job runs an item is sent `_SETTLING_SECONDS` after its end, when
no other item can still come before it. `service/api/jobs/job_watcher.py` reads all followed jobs
from the database together; the items of a job are read only when some have ended.
"""

import contextlib
import dataclasses
import re
import time
import weakref
from collections import Counter
from collections.abc import AsyncGenerator, Callable
from typing import TYPE_CHECKING

from fastapi.sse import KEEPALIVE_COMMENT, format_sse_event
from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from mt3_model.errors import OptionError
from mt3_model.export.strict_json import write_json
from service.api.jobs.job_watcher import POLLING_SECONDS, JobWatch, JobWatcher
from service.api.server_sent_events import EVENT_STREAM_HEADERS, MEDIA_TYPE, RECONNECTION
from service.errors import JobNotFoundError, JobsUnavailableError, QuotaError
from service.jobs.documents import describe_item, describe_job, describe_progress
from service.jobs.job import Item, Job, JobState
from service.observability.metrics import Metrics
from service.schemas.job_event import JobCompletedEvent, JobStatusEvent
from service.schemas.option_reading import shown
from service.schemas.schema import Schema, format_time

if TYPE_CHECKING:
    # For the type checker only: a server without jobs starts without SQLAlchemy and DBOS.
    from service.jobs.running.job_queue import JobQueue

_STREAM_RETRY_SECONDS = 10
"""`Retry-After` of a refusal. Only the caller can end a stream: its jobs may wait for hours."""
_SETTLING_SECONDS = 1.0
"""Longer than an item's transaction (milliseconds) and than the difference of clocks under NTP."""
_PAGE = 200
_LETTERS = {
    JobState.QUEUED: "q", JobState.PROCESSING: "p", JobState.SUCCEEDED: "s", JobState.FAILED: "f",
    JobState.CANCELED: "c",
}  # fmt: skip
_STATES = {letter: state for state, letter in _LETTERS.items()}
_ID = re.compile(r"(?P<state>[qpsfc])-(?P<when>\d{1,12}\.\d{1,17})-(?P<number>\d{1,7})")


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class EventCursor:
    """A place in the history of a job: everything before it has been sent."""

    state: JobState | None = None
    """The last state sent; None before the first event."""
    ended_at: float = 0.0
    """The end of the last item sent, in seconds since 1970."""
    number: int = -1
    """Number of the last item sent."""

    @property
    def event_id(self) -> str:
        """The cursor as an event id; the time is exact, so that the item is found again."""
        state = self.state or JobState.QUEUED
        return f"{_LETTERS[state]}-{self.ended_at!r}-{self.number + 1}"


def parse_event_cursor(text: str | None) -> EventCursor:
    """Read the header ``Last-Event-ID``.

    Raises:
        OptionError: the header is not an id of a job's events.
    """
    if text is None:
        return EventCursor()
    found = _ID.fullmatch(text)
    if found is None:
        raise OptionError(
            "Last-Event-ID",
            f"Last-Event-ID is {shown(text)}; expected the id of an event of this job",
        )
    return EventCursor(
        state=_STATES[found["state"]],
        ended_at=float(found["when"]),
        number=int(found["number"]) - 1,
    )


class JobStreams:
    """The event streams of one server. Use it from one event loop."""

    def __init__(
        self, *, heartbeat_seconds: float, max_streams_per_caller: int, metrics: Metrics
    ) -> None:
        """Begin with no streams.

        Args:
            heartbeat_seconds: time between comments while nothing happens.
            max_streams_per_caller: event streams that one caller may have open.
            metrics: the server's metrics registry.
        """
        self._heartbeat_seconds = heartbeat_seconds
        self._max_streams = max_streams_per_caller
        self._metrics = metrics
        self._watcher = JobWatcher()
        self._open: Counter[str] = Counter()
        self._is_ending = False

    def begin_draining(self) -> None:
        """End all streams. Their clients reconnect, to another server or after the restart."""
        self._is_ending = True
        self._watcher.wake_all()

    def response(
        self, queue: "JobQueue", job: Job, cursor: EventCursor, owner: str
    ) -> "JobEventsResponse":
        """Return the response that streams the events after a cursor.

        Args:
            queue: the queue that holds the job.
            job: the job as it is now.
            cursor: the last place in the history that the client has seen.
            owner: the name under which the caller's streams are counted.

        Raises:
            QuotaError: the caller has reached its limit of open streams.
        """
        if self._open[owner] >= self._max_streams:
            raise QuotaError(
                f"{self._open[owner]} event streams of this caller are open, which is the limit"
                " (max_event_streams_per_caller); close some, or request the jobs"
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
        self, queue: "JobQueue", job: Job, cursor: EventCursor
    ) -> AsyncGenerator[bytes]:
        yield RECONNECTION
        with self._watcher.watching(queue, job) as watch:
            items_sent = job.progress.items_done if cursor.state is not None else 0
            while not self._is_ending:
                seen = watch.latest
                if seen is None:  # deleted, or expired
                    return
                if seen.state is not cursor.state and not seen.state.is_final:
                    cursor = dataclasses.replace(cursor, state=seen.state)
                    yield _status(seen, cursor)
                # Items that end after this moment are sent by the next iteration.
                until = None if seen.state.is_final else time.time() - _SETTLING_SECONDS
                has_sent = False
                while page := await _ended(queue, seen, cursor, until):
                    for item in page:
                        cursor = dataclasses.replace(
                            cursor, ended_at=item.ended_at or 0.0, number=item.number
                        )
                        yield _item(item, cursor)
                    has_sent = True
                if has_sent or seen.progress.items_done != items_sent:
                    items_sent = seen.progress.items_done
                    yield _event("job.progress", describe_progress(seen), cursor)
                if seen.state.is_final:
                    # Sent with the previous cursor: a client that loses the connection here gets
                    # both.
                    yield _status(seen, cursor)
                    cursor = dataclasses.replace(cursor, state=seen.state)
                    completed = JobCompletedEvent(type="completed", job=describe_job(seen))
                    yield _event(completed.type, completed, cursor)
                    return
                async for comment in self._until_changed(watch, seen):
                    yield comment

    async def _until_changed(self, watch: JobWatch, seen: Job) -> AsyncGenerator[bytes]:
        """Wait until the job changes, and until its ended items have settled; yield heartbeats."""
        while not self._is_ending and watch.latest is seen:
            if _has_ended_items(seen) and watch.unchanged_seconds < 2 * _SETTLING_SECONDS:
                await watch.wait(POLLING_SECONDS)
                return
            await watch.wait(self._heartbeat_seconds)
            if watch.latest is seen:
                yield KEEPALIVE_COMMENT


class JobEventsResponse(StreamingResponse):
    """The events of a job over one connection."""

    media_type = MEDIA_TYPE

    def __init__(
        self, events: AsyncGenerator[bytes], close: Callable[[], None], metrics: Metrics
    ) -> None:
        """Prepare the response.

        Args:
            events: the encoded events.
            close: called once, when the response has ended or will never be sent.
            metrics: the server's metrics registry.
        """
        self._events = events
        self._close = weakref.finalize(self, close)
        self._metrics = metrics
        super().__init__(events, headers=EVENT_STREAM_HEADERS)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send until the job ends or the client disconnects."""
        try:
            with self._metrics.streams_open.track_inprogress():
                async with contextlib.aclosing(self._events):
                    await super().__call__(scope, receive, send)
        finally:
            self._close()


async def _ended(
    queue: "JobQueue", job: Job, cursor: EventCursor, until: float | None
) -> tuple[Item, ...]:
    """Return the next ended items; none while the database is away or after the job was deleted."""
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
    times = {JobState.QUEUED: job.created_at, JobState.PROCESSING: job.started_at}
    entered_at = times.get(job.state, job.ended_at) or job.created_at
    event = JobStatusEvent(type="job.status", status=job.state.value, at=format_time(entered_at))
    return _event(event.type, event, cursor)


def _item(item: Item, cursor: EventCursor) -> bytes:
    name = "item.completed" if item.state is JobState.SUCCEEDED else "item.failed"
    return _event(name, describe_item(item), cursor)


def _event(name: str, content: Schema, cursor: EventCursor) -> bytes:
    document = {"type": name, **content.model_dump(mode="json")}
    return format_sse_event(event=name, data_str=write_json(document), id=cursor.event_id)
