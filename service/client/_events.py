"""Read the messages of an event stream into events, and resume a stream that was dropped.

    Started               transcription.started   the options and the length
    Progress              progress                how much is transcribed
    Segment               segment                 one segment is decoded
    Note                  note                    a note has ended; may be provisional
    TranscriptionWarning  warning                 a warning
    Completed             completed               the transcription with its final notes

The ``final_note`` events, which come after a clean-up or a second pass, are not yielded one by one:
they are the notes of `Completed`. An ``error`` event is raised as an `APIError`; kinds that a later
server adds are ignored.
"""

import dataclasses
import re
from collections.abc import Iterator, Mapping
from typing import Any

from service.client._errors import (
    ConnectionFailedError,
    MT3ClientError,
    NotFoundError,
    UnexpectedAnswerError,
    error_from_event,
)
from service.client._job_models import Job, JobEvent, JobItem, JobProgress
from service.client._json import parse_object, read_document
from service.client._models import (
    Completed,
    Event,
    Note,
    Progress,
    Segment,
    Started,
    Transcription,
    TranscriptionWarning,
)
from service.client._requests import Request, resume_request
from service.client._retries import FIRST_BOUND_SECONDS, Attempts
from service.client._sse import EventStreamParser, Message, is_event_stream

_EVENTS_PATH = re.compile(r"/v1/transcriptions/([\w-]+)/events\Z")
_ID = re.compile(r"[\w-]{1,128}\Z")
"""An id that is safe in a path."""
_SHAPES: Mapping[str, type[Started | Progress | Segment | Note | TranscriptionWarning]] = {
    "transcription.started": Started,
    "progress": Progress,
    "segment": Segment,
    "note": Note,
    "warning": TranscriptionWarning,
}


class TranscriptionStream:
    """The state of one recording's stream across its connections.

    The server numbers the events 1, 2, 3... and keeps them for a while. After a drop, the next
    connection asks for the events after the last one received (``Last-Event-ID``). Numbers already
    received are skipped, and a gap is requested again, so that each event is yielded exactly once.
    The recording is uploaded again only if the server has no stream of it.
    """

    def __init__(self, upload_request: Request, attempts: Attempts) -> None:
        """Initialize the state before the first connection.

        Args:
            upload_request: uploads the recording and starts the stream.
            attempts: restarted with each new event.
        """
        self.attempts = attempts
        self.failure: MT3ClientError | None = None
        """Why the current connection has ended early; None while it has not."""
        self.is_complete = False
        self.bound_seconds = FIRST_BOUND_SECONDS
        """Bound of the first wait before reconnecting."""
        self._upload_request = upload_request
        self._parser = EventStreamParser()
        self._notes: list[Note] = []
        self._final_notes: list[Note] = []
        """The notes after the clean-up, which replace the others; empty without one."""
        self._id: str | None = None
        self._last_number = 0

    def next_request(self) -> Request:
        """Return the request that starts or resumes the stream."""
        if self._id is None:
            return self._upload_request
        return resume_request(self._id, after=self._last_number)

    def connect(self, headers: Mapping[str, str]) -> None:
        """Start reading a new connection.

        Args:
            headers: the response's headers; ``Location`` names the transcription before the first
                event does.

        Raises:
            UnexpectedAnswerError: the response is not an event stream.
        """
        if not is_event_stream(headers):
            kind = headers.get("content-type", "") or "of no type"
            raise UnexpectedAnswerError(
                f"the answer is {kind}; expected text/event-stream: this server cannot stream"
            )
        self._parser = EventStreamParser()
        self.failure = None
        location = _EVENTS_PATH.search(headers.get("location", ""))
        if self._id is None and location is not None:
            self._id = location[1]

    def feed(self, data: bytes) -> Iterator[Event]:
        """Yield the new events that the next bytes complete; no bytes are the connection's end.

        Raises:
            APIError: the server has sent an ``error`` event.
            UnexpectedAnswerError: a message is not one of this API.
        """
        if not data:
            self.failure = ConnectionFailedError("the stream ended before its transcription did")
        for message in self._parser.feed(data):
            number = _number(message)
            if number <= self._last_number:
                continue
            if number > self._last_number + 1:
                self.failure = UnexpectedAnswerError(
                    f"event {number} of the stream came after event {self._last_number}"
                )
                return
            event = self._read(message)
            if event is not None:
                yield event
            self._last_number = number
            self.attempts.restart()
            if self.is_complete:
                return
        if self._parser.retry_seconds is not None:
            self.bound_seconds = self._parser.retry_seconds

    def forget(self, error: NotFoundError) -> None:
        """Return to the upload, because the server has restarted and has no such stream.

        Raises:
            NotFoundError: events were already yielded, or the recording cannot be sent again.
        """
        if self._id is None or self._last_number:
            raise error
        self._id, self.failure = None, error
        self.check_resumable()

    def check_resumable(self) -> None:
        """Check that the stream can be resumed or restarted after a failure.

        Raises:
            MT3ClientError: the recording cannot be sent again, and no stream of it is known.
        """
        body = self._upload_request.body
        if self._id is None and self.failure is not None and body and not body.can_be_sent:
            raise self.failure

    def _read(self, message: Message) -> Event | None:
        """Read one event; None for a kind that is unknown."""
        where = f"the event {message.kind!r}"
        document = parse_object(message.data, what=where)
        if message.kind == "error":
            raise error_from_event(document)
        if message.kind == "completed":
            self.is_complete = True
            return Completed(transcription=self._complete(document, where))
        if message.kind == "final_note":
            self._final_notes.append(read_document(Note, document, where=where))
            return None
        if message.kind not in _SHAPES:
            return None
        event = read_document(_SHAPES[message.kind], document, where=where)
        if isinstance(event, Note):
            self._notes.append(event)
        elif isinstance(event, Started):
            if not _ID.match(event.id):
                raise UnexpectedAnswerError(f"the transcription's id is {event.id[:100]!r}")
            self._id = event.id
        return event

    def _complete(self, document: Mapping[str, Any], where: str) -> Transcription:
        answer = document.get("transcription")
        if not isinstance(answer, Mapping):
            raise UnexpectedAnswerError(f"{where} has no object 'transcription'")
        notes = self._final_notes or self._notes
        whole = read_document(Transcription, {**answer, "notes": []}, where=where)
        return dataclasses.replace(whole, notes=tuple(sorted(notes, key=_note_order)))


def _note_order(note: Note) -> tuple[float, bool, int, int, float]:
    """Return the sort key of the JSON answer (`mt3_model/export/transcription_json.py`)."""
    return (note.start_time, note.is_drum, note.program or 0, note.pitch, note.end_time)


def _number(message: Message) -> int:
    identifier = message.id or ""
    if not (identifier.isascii() and identifier.isdigit() and len(identifier) < 16):  # noqa: PLR2004
        raise UnexpectedAnswerError(
            f"an event of the stream has the id {identifier[:100]!r}; expected a number"
        )
    return int(identifier)


def read_job_event(message: Message) -> JobEvent:
    """Read an event of a job; for an unknown kind, only ``kind`` is set.

    Raises:
        UnexpectedAnswerError: the event's data cannot be read.
    """
    kind, where = message.kind, f"the event {message.kind!r}"
    document = parse_object(message.data, what=where)
    match kind:
        case "job.status":
            status = document.get("status")
            if not isinstance(status, str):
                raise UnexpectedAnswerError(f"{where} has no 'status'")
            return JobEvent(kind=kind, status=status)
        case "job.progress":
            return JobEvent(kind=kind, progress=read_document(JobProgress, document, where=where))
        case "item.completed" | "item.failed":
            return JobEvent(kind=kind, item=read_document(JobItem, document, where=where))
        case "completed":
            return JobEvent(kind=kind, job=read_document(Job, document.get("job"), where=where))
        case _:
            return JobEvent(kind=kind)
