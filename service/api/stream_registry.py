"""The server's event streams: start, resume, keep for a while, end when the server shuts down.

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
from service.transcriber import TranscriptionEvent

_MAX_ENDED_EVENTS = 500_000
"""Events kept of all ended streams together: at about 200 bytes for a note, 100 MB."""
_MAX_ENDED_STREAMS = 1_024
"""Ended streams kept: short ones hold a few kilobytes each, whatever their events."""
_LAST_WORDS_SECONDS = 2.0
"""Before the server's connections are cut off, to send the streams' ends."""
_FIRST_READER_SECONDS = 5.0
"""For the request that began a stream to write its answer's head, which is done at once."""
_GONE_RETRY_SECONDS = 30


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
        """Begins without streams.

        Args:
            resume_seconds: How long a stream that nobody reads goes on, and an ended one is kept.
            heartbeat_seconds: Between comments while nothing happens, which keep proxies from
                cutting an idle connection.
            shutdown_grace_seconds: How long connections live once draining begins.
            metrics: The server's.
        """
        self._resume_seconds = resume_seconds
        self._heartbeat_seconds = heartbeat_seconds
        self._metrics = metrics or Metrics()
        self._is_draining = False
        self._grace_seconds = shutdown_grace_seconds
        self._live: dict[str, TranscriptionStream] = {}
        self._ended: dict[str, TranscriptionStream] = {}  # the oldest first
        self._ended_events = 0

    async def begin(
        self,
        events: AsyncGenerator[TranscriptionEvent],
        identity: StreamIdentity,
        caller: Caller,
        held: contextlib.AsyncExitStack,
    ) -> TranscriptionStream:
        """Begins a stream and waits for its first event.

        Args:
            events: The transcription's; nobody has asked for one yet.
            identity: Of the stream.
            caller: Who alone may resume it.
            held: What the transcription needs for as long as it runs; taken over, and left empty.

        Raises:
            Exception: What the transcription raised in place of its first event.
        """
        stream = TranscriptionStream(
            identity,
            caller,
            resume_seconds=self._resume_seconds,
            heartbeat_seconds=self._heartbeat_seconds,
            metrics=self._metrics,
            on_gone=self._take_gone,
        )
        await stream.start(events, held.pop_all())
        if not stream.is_ended:
            self._live[identity.transcription_id] = stream
            if self._is_draining:
                stream.resume_seconds = 0.0
        stream.await_reader(_FIRST_READER_SECONDS)
        return stream

    def find(self, transcription_id: str, caller: Caller) -> TranscriptionStream:
        """Gives a stream to be resumed.

        Raises:
            StreamNotFoundError: There is none of that id, or not any more, or it is not the
                caller's: which of these is not told.
        """
        stream = self._live.get(transcription_id) or self._ended.get(transcription_id)
        if stream is None or stream.caller_name != caller.name:
            raise StreamNotFoundError(
                "no event stream has this id for this caller; one can be resumed while it goes on"
                f" and for {self._resume_seconds:g} s after; send the recording again"
            )
        return stream

    def begin_draining(self) -> None:
        """The server is going down: streams that nobody reads end now, others just before it."""
        if self._is_draining:
            return
        self._is_draining = True
        for stream in list(self._live.values()):
            stream.resume_seconds = 0.0  # nobody can come back
            stream.await_reader()
        last_words = min(_LAST_WORDS_SECONDS, self._grace_seconds / 2)
        loop = asyncio.get_running_loop()
        loop.call_later(self._grace_seconds - last_words, self._end_all)

    async def close(self) -> None:
        """Ends all streams and awaits that nothing of them is left."""
        self._is_draining = True
        await asyncio.gather(*(s.cancel(_going_down()) for s in list(self._live.values())))

    def _end_all(self) -> None:
        for stream in list(self._live.values()):
            stream.end_soon(_going_down())

    def _take_gone(self, stream: TranscriptionStream) -> None:
        """Keeps a stream that has ended for a while; forgets one that was given up."""
        name = stream.identity.transcription_id
        self._live.pop(name, None)
        if not stream.is_ended:
            return
        self._ended[name] = stream
        self._ended_events += stream.last_id
        asyncio.get_running_loop().call_later(self._resume_seconds, self._forget, name)
        while len(self._ended) > _MAX_ENDED_STREAMS or self._ended_events > _MAX_ENDED_EVENTS:
            self._forget(next(iter(self._ended)))

    def _forget(self, name: str) -> None:
        stream = self._ended.pop(name, None)
        if stream is not None:
            self._ended_events -= stream.last_id


class EventStreamResponse(StreamingResponse):
    """A stream's events from one on, over one connection."""

    media_type = MEDIA_TYPE

    def __init__(
        self, stream: TranscriptionStream, *, after: int = 0, headers: dict[str, str] | None = None
    ) -> None:
        """Prepares the answer.

        Args:
            stream: What to follow.
            after: Number of the last event that the client has seen.
            headers: Beside those of every event stream.
        """
        self._following = stream.follow(after)
        super().__init__(self._following, headers={**EVENT_STREAM_HEADERS, **(headers or {})})
        self._stream = stream

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Sends until the stream ends or the client goes away."""
        with self._stream.reading():
            async with contextlib.aclosing(self._following):
                await super().__call__(scope, receive, send)


def _going_down() -> NotReadyError:
    return NotReadyError(
        "the server is going down before this transcription is done; send the recording again",
        state="draining",
        retry_after_seconds=_GONE_RETRY_SECONDS,
    )
