"""Start, resume and keep the server's event streams, and end them when the server shuts down.

Memory is bounded: live streams are recordings being transcribed, whose number the server limits
(`transcription_stream.py`). Ended streams are evicted, oldest first, once they hold too much.
"""

import asyncio
import contextlib
from collections.abc import AsyncGenerator

from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from service.api.server_sent_events import EVENT_STREAM_HEADERS, MEDIA_TYPE, StreamIdentity
from service.api.transcription_stream import TranscriptionStream
from service.auth.caller import Caller
from service.errors import NotReadyError, StreamNotFoundError
from service.observability.metrics import Metrics
from service.transcription_events import TranscriptionEvent

MAX_ENDED_EVENTS = 500_000
"""Maximum events of all ended streams together: 100 MB at about 200 bytes for a note."""
_MAX_ENDED_STREAMS = 1_024
"""Maximum number of ended streams: even a short one holds a few kilobytes."""
_ERROR_EVENT_SECONDS = 2.0
"""Time to send the streams' last events before the server's connections are closed."""
FIRST_READER_SECONDS = 5.0
"""Time for the request that started a stream to begin reading it."""
_SHUTDOWN_RETRY_SECONDS = 30


class StreamRegistry:
    """The event streams of one server. To be used from one event loop."""

    def __init__(
        self,
        *,
        resume_seconds: float,
        heartbeat_seconds: float,
        shutdown_grace_seconds: float,
        metrics: Metrics | None = None,
    ) -> None:
        """Start without streams.

        Args:
            resume_seconds: Time that a stream continues without a reader, and that an ended one is
                kept.
            heartbeat_seconds: Interval of comments while no event occurs, which keep proxies from
                closing an idle connection.
            shutdown_grace_seconds: Time that connections stay open after draining starts.
            metrics: The server's metrics.
        """
        self._resume_seconds = resume_seconds
        self._heartbeat_seconds = heartbeat_seconds
        self._metrics = metrics or Metrics()
        self._is_draining = False
        self._grace_seconds = shutdown_grace_seconds
        self._live: dict[str, TranscriptionStream] = {}
        self._ended: dict[str, TranscriptionStream] = {}  # the oldest first
        self._ended_events = 0

    async def start(
        self,
        events: AsyncGenerator[TranscriptionEvent],
        identity: StreamIdentity,
        caller: Caller,
        resources: contextlib.AsyncExitStack,
    ) -> TranscriptionStream:
        """Start a stream and wait for its first event.

        Args:
            events: The transcription's events, not iterated yet.
            identity: The members that the first and the last event repeat.
            caller: The only caller that may resume the stream.
            resources: Resources of the running transcription; the stream takes them over.

        Raises:
            Exception: The transcription's own error, if it fails before its first event.
        """
        stream = TranscriptionStream(
            identity,
            caller,
            resume_seconds=self._resume_seconds,
            heartbeat_seconds=self._heartbeat_seconds,
            metrics=self._metrics,
            on_closed=self._on_closed,
        )
        await stream.start(events, resources.pop_all())
        if not stream.is_ended:
            self._live[identity.transcription_id] = stream
            if self._is_draining:
                stream.resume_seconds = 0.0
        stream.start_abandon_timer(FIRST_READER_SECONDS)
        return stream

    def find(self, transcription_id: str, caller: Caller) -> TranscriptionStream:
        """Return a stream to be resumed.

        Raises:
            StreamNotFoundError: The stream is unknown, expired or another caller's; the message is
                the same for all three.
        """
        stream = self._live.get(transcription_id) or self._ended.get(transcription_id)
        if stream is None or stream.caller_name != caller.name:
            raise StreamNotFoundError(
                "this caller has no event stream with this id; a stream can be resumed while it"
                f" runs and for {self._resume_seconds:g} s after; send the recording again"
            )
        return stream

    def begin_draining(self) -> None:
        """End streams without readers now, and the others shortly before the grace period ends."""
        if self._is_draining:
            return
        self._is_draining = True
        for stream in list(self._live.values()):
            stream.resume_seconds = 0.0  # clients cannot reconnect
            stream.start_abandon_timer()
        notice = min(_ERROR_EVENT_SECONDS, self._grace_seconds / 2)
        loop = asyncio.get_running_loop()
        loop.call_later(self._grace_seconds - notice, self._end_all)

    async def close(self) -> None:
        """End all streams and wait until their resources are released."""
        self._is_draining = True
        await asyncio.gather(*(s.cancel(_shutdown_error()) for s in list(self._live.values())))

    def _end_all(self) -> None:
        for stream in list(self._live.values()):
            stream.end_soon(_shutdown_error())

    def _on_closed(self, stream: TranscriptionStream) -> None:
        """Keep an ended stream for a while; drop an abandoned one."""
        name = stream.identity.transcription_id
        self._live.pop(name, None)
        if not stream.is_ended:
            return
        self._ended[name] = stream
        self._ended_events += stream.last_id
        asyncio.get_running_loop().call_later(self._resume_seconds, self._evict, name)
        while len(self._ended) > _MAX_ENDED_STREAMS or self._ended_events > MAX_ENDED_EVENTS:
            self._evict(next(iter(self._ended)))

    def _evict(self, name: str) -> None:
        stream = self._ended.pop(name, None)
        if stream is not None:
            self._ended_events -= stream.last_id


class EventStreamResponse(StreamingResponse):
    """A response with a stream's events, from a given one on."""

    media_type = MEDIA_TYPE

    def __init__(
        self, stream: TranscriptionStream, *, after: int = 0, headers: dict[str, str] | None = None
    ) -> None:
        """Prepare the response.

        Args:
            stream: The stream to follow.
            after: Id of the last event that the client has seen.
            headers: Headers in addition to those of every event stream.
        """
        self._following = stream.follow(after)
        super().__init__(self._following, headers={**EVENT_STREAM_HEADERS, **(headers or {})})
        self._stream = stream

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send events until the stream ends or the client disconnects."""
        with self._stream.reading():
            async with contextlib.aclosing(self._following):
                await super().__call__(scope, receive, send)


def _shutdown_error() -> NotReadyError:
    return NotReadyError(
        "the server shuts down before this transcription is done; send the recording again",
        state="draining",
        retry_after_seconds=_SHUTDOWN_RETRY_SECONDS,
    )
