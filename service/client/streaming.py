"""A recording -> its transcription's events, over as many connections as it takes.

The server numbers a stream's events 1, 2, 3... and keeps them for a while: a connection that drops
is followed by another that asks for what comes after the last number seen (``Last-Event-ID``).
Numbers already seen are passed over and a gap is asked for again, so that each event is given once
and none is missed. The recording itself is sent again only while nothing of its stream is known.
"""

import re

from service.client.asking import answered
from service.client.calls import TRANSCRIPTIONS
from service.client.documents import parse_object
from service.client.errors import (
    ConnectionFailedError,
    MT3ClientError,
    NotFoundError,
    UnexpectedAnswerError,
    error_of_event,
)
from service.client.event_stream import EventStreamParser, Message
from service.client.events import Completed, Event, EventReader, Started
from service.client.options import Options, query_of
from service.client.retries import FIRST_BOUND_SECONDS, RetryPolicy
from service.client.steps import Close, Give, GivingSteps, Lost, Reply, Send, Wait, read
from service.client.uploads import Upload

SILENCE_SECONDS = 60.0
"""After which a stream counts as dropped: four of the server's heartbeats."""
_EVENTS_PATH = re.compile(re.escape(TRANSCRIPTIONS) + r"/([\w-]+)/events\Z")
_ID = re.compile(r"[\w-]{1,128}\Z")
"""What may stand in a path as it is."""


StreamSteps = GivingSteps[Event, None]


def stream(policy: RetryPolicy, upload: Upload, options: Options) -> StreamSteps:
    """Transcribes a recording, event by event.

    Raises:
        MT3ClientError: It cannot be begun, resumed, or the server gave it up.
    """
    return _Stream(policy, upload, options).run()


class _Stream:
    """One recording's stream: where it is, and how it goes on."""

    def __init__(self, policy: RetryPolicy, upload: Upload, options: Options) -> None:
        self._policy = policy
        self._upload = upload
        self._query = query_of(options, stream="true")
        self._attempts = policy.attempts()
        self._reader = EventReader()
        self._id: str | None = None
        self._seen = 0
        """Number of the last event given."""
        self._done = False
        self._bound_seconds = FIRST_BOUND_SECONDS

    def run(self) -> StreamSteps:
        """Connects until all events are given."""
        while True:
            try:
                reply = yield from answered(
                    self._policy, self._attempts, self._next_request(),
                    bound_seconds=self._bound_seconds,
                )  # fmt: skip
            except NotFoundError as error:
                # The server has restarted before it gave anything: nothing is lost by a new start.
                failure: MT3ClientError = error
                if self._id is None or self._seen or not self._upload.may_be_sent:
                    raise
                self._id = None
            else:
                self._note_id(reply)
                failure = yield from self._listen(reply)
                yield Close()
                if self._done:
                    return
            if self._id is None and not self._upload.may_be_sent:
                raise failure
            wait = self._attempts.next_wait(bound_seconds=self._bound_seconds)
            if wait is None:
                raise failure
            yield Wait(seconds=wait)

    def _next_request(self) -> Send:
        headers = {"accept": "text/event-stream", "accept-encoding": "identity"}
        if self._id is None:
            return Send(
                method="POST", path=TRANSCRIPTIONS, upload=self._upload, query=self._query,
                headers=headers, read_timeout=SILENCE_SECONDS, streamed=True,
            )  # fmt: skip
        if self._seen:
            headers["last-event-id"] = str(self._seen)
        return Send(
            method="GET", path=f"{TRANSCRIPTIONS}/{self._id}/events", headers=headers,
            read_timeout=SILENCE_SECONDS, streamed=True,
        )  # fmt: skip

    def _note_id(self, reply: Reply) -> None:
        """Learns the stream's id from ``Location``, before the first event names it too."""
        kind = reply.headers.get("content-type", "")
        if kind.partition(";")[0].strip().lower() != "text/event-stream":
            raise UnexpectedAnswerError(
                f"the answer is {kind or 'of no type'}; expected text/event-stream:"
                " this server cannot stream"
            )
        located = _EVENTS_PATH.search(reply.headers.get("location", ""))
        if self._id is None and located is not None:
            self._id = located[1]

    def _listen(self, reply: Reply) -> GivingSteps[Event, MT3ClientError]:
        """Gives what one connection brings; returns why it ended early."""
        del reply
        parser = EventStreamParser()
        while True:
            data = yield from read()
            if isinstance(data, Lost):
                return ConnectionFailedError(data.reason)
            if not data:
                return ConnectionFailedError("the stream ended before its transcription did")
            for message in parser.feed(data):
                if (number := _number(message)) <= self._seen:
                    continue
                if number > self._seen + 1:
                    return UnexpectedAnswerError(
                        f"event {number} of the stream came after event {self._seen}"
                    )
                yield from self._take(message)
                self._seen = number
                self._attempts.restart()
                if self._done:
                    return UnexpectedAnswerError("the stream has ended")
            if parser.retry_seconds is not None:
                self._bound_seconds = parser.retry_seconds

    def _take(self, message: Message) -> StreamSteps:
        document = parse_object(message.data, what=f"the event {message.kind!r}")
        if message.kind == "error":
            yield Close()
            raise error_of_event(document)
        event = self._reader.read(message.kind, document)
        if isinstance(event, Started):
            if not _ID.match(event.id):
                raise UnexpectedAnswerError(f"the transcription's id is {event.id[:100]!r}")
            self._id = event.id
        self._done = isinstance(event, Completed)
        if event is not None:
            yield Give(value=event)


def _number(message: Message) -> int:
    identifier = message.id or ""
    if not (identifier.isascii() and identifier.isdigit() and len(identifier) < 16):  # noqa: PLR2004
        raise UnexpectedAnswerError(
            f"an event of the stream has the id {identifier[:100]!r}; expected a number"
        )
    return int(identifier)
