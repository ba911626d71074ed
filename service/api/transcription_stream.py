"""One transcription told as server-sent events, which outlive the connection they are told over.

A task listens to `Transcriber.stream` and keeps what happens; any number of readers follow, each
at its own pace, from the event it asks for: a slow one holds up nobody. A stream that nobody reads
goes on for a while, since its client may come back, and is then given up: its segments leave the
engine and its file is removed.
"""

import array
import asyncio
import bisect
import contextlib
import logging
from collections.abc import AsyncGenerator, Callable, Generator

from fastapi.sse import KEEPALIVE_COMMENT

from mt3_model.notes.transcription import Transcription
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
from service.transcriber import Completed, TranscriptionEvent

_logger = logging.getLogger(__name__)


class TranscriptionStream:
    """The events of one transcription. To be used from one event loop.

    Attributes:
        identity: What the stream says of itself.
        caller_name: Who alone may resume it.
        is_ended: Whether the last event is there.
        last_id: Number of the latest event; 0 before the first.
        resume_seconds: How long it goes on while nobody reads.
    """

    def __init__(
        self,
        identity: StreamIdentity,
        caller: Caller,
        *,
        resume_seconds: float,
        heartbeat_seconds: float,
        metrics: Metrics,
        on_gone: Callable[["TranscriptionStream"], None],
    ) -> None:
        """Begins without events.

        Args:
            identity: Of the stream.
            caller: Whose it is.
            resume_seconds: As the attribute.
            heartbeat_seconds: Between comments while nothing happens.
            metrics: The server's.
            on_gone: Called when the stream is given up, and when it has ended.
        """
        self.identity = identity
        self.caller_name = caller.name
        self.is_ended = False
        self.last_id = 0
        self.resume_seconds = resume_seconds
        self._heartbeat_seconds = heartbeat_seconds
        self._metrics = metrics
        self._on_gone = on_gone
        self._events: list[StreamEvent] = []
        self._first_ids = array.array("Q")  # of each event, the number of its first on the wire
        self._changed = asyncio.Event()
        self._opened: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._readers = 0
        self._timer: asyncio.TimerHandle | None = None
        self._task: asyncio.Task[None] | None = None
        self._end_with: Exception | None = None
        self._is_over = False

    async def start(
        self, events: AsyncGenerator[TranscriptionEvent], held: contextlib.AsyncExitStack
    ) -> None:
        """Begins to listen, and waits for the first event.

        Args:
            events: The transcription's; nobody has asked for one yet.
            held: What it needs for as long as it runs: left when the events end, before the last
                is told, and left whatever happens here.

        Raises:
            Exception: What the transcription raised in place of its first event.
        """
        self._task = asyncio.create_task(self._listen(events, held))
        try:
            await asyncio.shield(self._opened)
        except BaseException:
            await self.cancel()
            await held.aclose()  # a task cancelled before its first step has left nothing
            raise

    @contextlib.contextmanager
    def reading(self) -> Generator[None]:
        """Counts a reader for as long as the context lasts."""
        self._readers += 1
        self._metrics.streams_open.inc()
        if not self.is_ended:
            self._set_timer(None)
        try:
            yield
        finally:
            self._readers -= 1
            self._metrics.streams_open.dec()
            self.await_reader()

    def await_reader(self, at_least_seconds: float = 0.0) -> None:
        """Gives up after ``resume_seconds``, unless somebody reads until then.

        Args:
            at_least_seconds: Waited in any case.
        """
        if self._readers == 0 and not self.is_ended:
            self._set_timer(max(self.resume_seconds, at_least_seconds))

    async def follow(self, after: int = 0) -> AsyncGenerator[bytes]:
        """Gives what follows an event, as text, until the last; heartbeats where nothing happens.

        Args:
            after: Number of the last event seen, 0 to ``last_id``.
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
                    # A reader who is hours behind must not keep the others waiting.
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
        """Ends the transcription and awaits that nothing of it is left.

        Args:
            error: Told to the readers; absent: there are none.
        """
        self.end_soon(error)
        if self._task is not None:
            await asyncio.wait({self._task})

    def end_soon(self, error: Exception | None = None) -> None:
        """Begins what `cancel` does."""
        if self._task is not None and not self._task.done():
            self._end_with = self._end_with or error
            self._task.cancel()

    async def _listen(
        self, events: AsyncGenerator[TranscriptionEvent], held: contextlib.AsyncExitStack
    ) -> None:
        last: StreamEvent | None = None
        try:
            async with held, contextlib.aclosing(events):
                async for event in events:
                    if isinstance(event, Completed):
                        log_transcription(event.transcription, "events")
                        # Told below, when the request's place is free: its client's next request
                        # may follow at once.
                        last = event
                    else:
                        self._append(event)
        except asyncio.CancelledError:
            if last is None and self._end_with is not None:
                last = self._failed(self._end_with)
        except Exception as error:  # noqa: BLE001 (the outer edge of a stream: told, or logged)
            if not self._opened.done():
                self._opened.set_exception(error)
                self._opened.exception()  # seen, even if its client is gone
                return
            last = self._failed(error)
        self._set_timer(None)
        self._is_over = True
        if last is not None and self._opened.done():
            self.is_ended = True
            self._append(last)
        self._opened.cancel()  # where it was given up before its first event
        self._changed.set()
        self._on_gone(self)

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
        if retry_after is not None:  # there is no header left to say it in
            document["retry_after_seconds"] = retry_after
        self._metrics.errors.labels((problem or INTERNAL).code).inc()
        return Failed(problem=document)

    def _set_timer(self, seconds: float | None) -> None:
        """Abandons the stream after so long; never for None."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if seconds is not None:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(seconds, self._abandon)

    def _abandon(self) -> None:
        self._on_gone(self)  # at once: there is nothing to come back to
        log_event(_logger, "stream_abandoned", events=self.last_id)
        self.end_soon()


def log_transcription(transcription: Transcription, form: str) -> None:
    """Add what was transcribed to the request's `request_finished` event.

    Args:
        transcription: The result.
        form: The answer's: a response format, or ``events``.
    """
    add_request_fields(
        audio_seconds=round(transcription.usage.audio_seconds, 3),
        response_format=form,
        notes=len(transcription.notes.notes),
        queue_seconds=round(transcription.usage.queue_seconds, 3),
    )
