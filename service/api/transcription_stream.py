"""A resumable stream of one transcription's events, independent of any connection.

A task stores the events of `Transcriber.stream`. Any number of readers can follow it, each at its
own pace and from the event that it requests, so a slow reader does not delay the others. A stream
without readers continues for a while, since its client may reconnect, and is then canceled: its
segments leave the engine and its file is removed.
"""

import array
import asyncio
import bisect
import contextlib
import logging
from collections.abc import AsyncGenerator, Callable, Generator

from fastapi.sse import KEEPALIVE_COMMENT

from mt3_model.notes.transcription import Usage
from service.api.problems import (
    INTERNAL,
    INTERNAL_DETAIL,
    find_problem,
    problem_document,
    problem_members,
    retry_after_seconds,
)
from service.api.server_sent_events import (
    RECONNECTION,
    Failed,
    StreamEvent,
    StreamIdentity,
    count_events,
    encode_events,
)
from service.auth.caller import Caller
from service.observability.logging import add_request_fields, log_event
from service.observability.metrics import Metrics
from service.transcription_events import Completed, TranscriptionEvent

_logger = logging.getLogger(__name__)


class TranscriptionStream:
    """The events of one transcription. To be used from one event loop.

    Attributes:
        identity: The members that the first and the last event repeat.
        caller_name: The only caller that may resume the stream.
        is_ended: Whether the last event is stored.
        last_id: Id of the latest event; 0 before the first.
        resume_seconds: Time that the stream continues without a reader.
    """

    def __init__(
        self,
        identity: StreamIdentity,
        caller: Caller,
        *,
        resume_seconds: float,
        heartbeat_seconds: float,
        metrics: Metrics,
        on_closed: Callable[["TranscriptionStream"], None],
    ) -> None:
        """Prepare a stream without events.

        Args:
            identity: The members that the first and the last event repeat.
            caller: The caller that may resume the stream.
            resume_seconds: Time that the stream continues without a reader.
            heartbeat_seconds: Interval of comments while no event occurs.
            metrics: The server's metrics.
            on_closed: Called when the stream is abandoned and when it has ended.
        """
        self.identity = identity
        self.caller_name = caller.name
        self.is_ended = False
        self.last_id = 0
        self.resume_seconds = resume_seconds
        self._heartbeat_seconds = heartbeat_seconds
        self._metrics = metrics
        self._on_closed = on_closed
        self._events: list[StreamEvent] = []
        self._first_ids = array.array("Q")  # of each event, its first id on the wire
        self._changed = asyncio.Event()
        self._opened: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._readers = 0
        self._timer: asyncio.TimerHandle | None = None
        self._task: asyncio.Task[None] | None = None
        self._end_with: Exception | None = None
        self._is_over = False

    async def start(
        self, events: AsyncGenerator[TranscriptionEvent], resources: contextlib.AsyncExitStack
    ) -> None:
        """Start the task and wait for the first event.

        Args:
            events: The transcription's events, not iterated yet.
            resources: Closed when the events end, before the last event is published, and in every
                other case.

        Raises:
            Exception: The transcription's own error, if it fails before its first event.
        """
        self._task = asyncio.create_task(self._collect(events, resources))
        try:
            await asyncio.shield(self._opened)
        except BaseException:
            await self.cancel()
            await resources.aclose()  # a task canceled before its first step has not closed them
            raise

    @contextlib.contextmanager
    def reading(self) -> Generator[None]:
        """Count a reader while the context lasts."""
        self._readers += 1
        self._metrics.streams_open.inc()
        if not self.is_ended:
            self._set_timer(None)
        try:
            yield
        finally:
            self._readers -= 1
            self._metrics.streams_open.dec()
            self.start_abandon_timer()

    def start_abandon_timer(self, at_least_seconds: float = 0.0) -> None:
        """Abandon the stream after ``resume_seconds``, unless a reader comes.

        Args:
            at_least_seconds: Minimum time until the stream is abandoned.
        """
        if self._readers == 0 and not self.is_ended:
            self._set_timer(max(self.resume_seconds, at_least_seconds))

    async def follow(self, after: int = 0) -> AsyncGenerator[bytes]:
        """Yield the encoded events after a given one to the last, and heartbeats between them.

        Args:
            after: Id of the last event seen, 0 to ``last_id``.
        """
        yield RECONNECTION
        index = max(bisect.bisect_right(self._first_ids, after + 1) - 1, 0)
        while True:
            while index < len(self._events):
                text = encode_events(
                    self._events[index],
                    self.identity,
                    first_id=self._first_ids[index],
                    after=after,
                )
                index += 1
                if text:
                    yield text
                    # A reader with many stored events to send must not block the event loop.
                    await asyncio.sleep(0)
            if self._is_over:
                return
            changed = self._changed
            try:
                async with asyncio.timeout(self._heartbeat_seconds):
                    await changed.wait()
            except TimeoutError:
                yield KEEPALIVE_COMMENT

    async def cancel(self, error: Exception | None = None) -> None:
        """End the transcription and wait until its resources are released.

        Args:
            error: Sent to the readers as the last event, if given.
        """
        self.end_soon(error)
        if self._task is not None:
            await asyncio.wait({self._task})

    def end_soon(self, error: Exception | None = None) -> None:
        """Request cancellation without waiting; see `cancel`."""
        if self._task is not None and not self._task.done():
            self._end_with = self._end_with or error
            self._task.cancel()

    async def _collect(
        self, events: AsyncGenerator[TranscriptionEvent], resources: contextlib.AsyncExitStack
    ) -> None:
        last: StreamEvent | None = None
        try:
            async with resources, contextlib.aclosing(events):
                async for event in events:
                    if isinstance(event, Completed):
                        done = event.transcription
                        notes = len(done.notes.notes)
                        log_transcription(done.usage, notes=notes, form="events")
                        # Published below, after the caller's permit is released: the client's next
                        # request may follow at once.
                        last = event
                    else:
                        self._append(event)
        except asyncio.CancelledError:
            if last is None and self._end_with is not None:
                last = self._failed(self._end_with)
        except Exception as error:  # noqa: BLE001 (the outer edge of a stream: published or logged)
            if not self._opened.done():
                self._opened.set_exception(error)
                self._opened.exception()  # marked as retrieved, even if the client has disconnected
                return
            last = self._failed(error)
        self._set_timer(None)
        self._is_over = True
        if last is not None and self._opened.done():
            self.is_ended = True
            self._append(last)
        self._opened.cancel()  # if canceled before the first event
        self._changed.set()
        self._on_closed(self)

    def _append(self, event: StreamEvent) -> None:
        self._events.append(event)
        self._first_ids.append(self.last_id + 1)
        self.last_id += count_events(event)
        if not self._opened.done():
            self._opened.set_result(None)
        self._changed.set()
        self._changed = asyncio.Event()

    def _failed(self, error: Exception) -> Failed:
        problem = find_problem(error)
        if problem is None:
            log_event(_logger, "request_failed", level=logging.ERROR, error=error)
            document = problem_document(INTERNAL, INTERNAL_DETAIL)
        else:
            log_event(_logger, "request_refused", code=problem.code)
            document = problem_document(problem, str(error), **problem_members(error))
        retry_after = retry_after_seconds(error)
        if retry_after is not None:  # the response head is sent already
            document["retry_after_seconds"] = retry_after
        self._metrics.errors.labels((problem or INTERNAL).code).inc()
        return Failed(problem=document)

    def _set_timer(self, seconds: float | None) -> None:
        """Schedule the stream's end after ``seconds``; None removes the timer."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if seconds is not None:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(seconds, self._abandon)

    def _abandon(self) -> None:
        self._on_closed(self)  # at once, so that it can no longer be resumed
        log_event(_logger, "stream_abandoned", events=self.last_id)
        self.end_soon()


def log_transcription(usage: Usage, *, notes: int, form: str) -> None:
    """Add facts of the transcription to the request's `request_finished` log event.

    Args:
        usage: The transcription's usage.
        notes: Number of its notes.
        form: The response format, or ``events``.
    """
    add_request_fields(
        audio_seconds=round(usage.audio_seconds, 3),
        response_format=form,
        notes=notes,
        queue_seconds=round(usage.queue_seconds, 3),
    )
