"""Streams of events: a transcription's, a job's, and the states of a job until it has ended."""

import dataclasses
import sys
from collections.abc import AsyncGenerator
from contextlib import aclosing
from http import HTTPStatus

from service.client._async.transport import AsyncStreamedResponse, AsyncTransport
from service.client._errors import (
    APIError,
    ConnectionFailedError,
    NotFoundError,
    UnexpectedAnswerError,
    WaitTimeoutError,
    error_from_event,
)
from service.client._events import TranscriptionStream, read_job_event
from service.client._job_models import Job, JobEvent
from service.client._json import parse_document, parse_object
from service.client._models import Event
from service.client._requests import Request, get, job_events_request, job_path
from service.client._retries import FIRST_BOUND_SECONDS, RETRIED_STATUSES, Attempts
from service.client._sse import EventStreamParser, is_event_stream

FIRST_POLL_SECONDS, LAST_POLL_SECONDS = 0.5, 10.0
"""Waits between two polls of a job whose events are not available; each is half as long again."""
_MIN_LISTEN_SECONDS = 20.0
"""With less time left, a job is polled instead: a silent stream could outlast the timeout."""


async def stream_transcription(
    transport: AsyncTransport, upload_request: Request
) -> AsyncGenerator[Event]:
    """Yield the events of a recording's transcription, over as many connections as it takes.

    Raises:
        MT3ClientError: the stream cannot be started or resumed, or the server reports an error.
    """
    stream = TranscriptionStream(upload_request, transport.policy.attempts())
    while True:
        try:
            response = await transport.open(
                stream.next_request(), stream.attempts, bound_seconds=stream.bound_seconds
            )
        except NotFoundError as error:
            stream.forget(error)
        else:
            async with response:
                stream.connect(response.headers)
                while stream.failure is None and not stream.is_complete:
                    try:
                        data = await response.read()
                    except ConnectionFailedError as error:
                        stream.failure = error
                        break
                    for event in stream.feed(data):
                        yield event
        if stream.failure is None:
            return
        stream.check_resumable()
        await transport.pause(stream.attempts, stream.failure, bound_seconds=stream.bound_seconds)


async def follow_job(transport: AsyncTransport, job_id: str) -> AsyncGenerator[JobEvent]:
    """Yield a job's events until it has ended, over as many connections as it takes.

    Raises:
        MT3ClientError: the events are not available, or no longer available.
    """
    attempts = transport.policy.attempts()
    bound_seconds, last_id = FIRST_BOUND_SECONDS, ""
    while True:
        failure = ConnectionFailedError("the stream ended before its job did")
        request = job_events_request(job_id, after=last_id)
        async with await transport.open(request, attempts, bound_seconds=bound_seconds) as response:
            if response.status == HTTPStatus.NO_CONTENT:
                return  # the job has ended, and its last event was received before
            if not is_event_stream(response.headers):
                raise UnexpectedAnswerError(
                    "the answer is not an event stream: this server has no events"
                )
            parser = EventStreamParser()
            try:
                while data := await response.read():
                    for message in parser.feed(data):
                        if message.kind == "error":
                            raise error_from_event(parse_object(message.data, what="the error"))
                        event = read_job_event(message)
                        yield event
                        last_id = last_id if message.id is None else message.id
                        attempts.restart()
                        if event.kind == "completed":
                            return
                    bound_seconds = parser.retry_seconds or bound_seconds
            except ConnectionFailedError as error:
                failure = error
        await transport.pause(attempts, failure, bound_seconds=bound_seconds)


class AsyncJobWatch:
    """Watches a job until it has ended, over dropped connections and restarts of the server.

    It listens to the job's events, and requests the job itself after each connection, so that
    nothing depends on missed events. Where events are not available (a proxy buffers them, the
    server restarts), it polls the job instead.
    """

    def __init__(
        self, transport: AsyncTransport, job_id: str, timeout_seconds: float | None
    ) -> None:
        """Start the timeout.

        Args:
            transport: the connections to the server.
            job_id: the job.
            timeout_seconds: time until the job must have ended; None: no limit.
        """
        self._transport = transport
        self._job_id = job_id
        self._timeout_seconds = timeout_seconds
        self._started = transport.policy.clock()
        self._can_listen = True
        self._needs_pause = True
        self._poll_seconds = FIRST_POLL_SECONDS

    async def states(self) -> AsyncGenerator[Job]:
        """Yield the job at first and whenever it has changed; the last one has ended.

        Raises:
            WaitTimeoutError: the job has not ended within the timeout.
            ConnectionFailedError: the server could not be reached for as long as a call may take.
            MT3ClientError: the job does not exist or was deleted, or the key lacks a scope.
        """
        job = await self._get_job(self._transport.policy.attempts())
        yield job
        while not job.is_ended:
            self._check_timeout(job)
            self._needs_pause = True
            before = job
            response = await self._open_events()
            if response is not None:
                try:
                    async with aclosing(self._listen(response, job)) as changes:
                        async for change in changes:
                            job = change
                            yield job
                except ConnectionFailedError:
                    pass
                except UnexpectedAnswerError:
                    self._can_listen = False
            if self._needs_pause:
                await self._pause()
            latest = await self._get_job(self._patient_attempts())
            if latest not in (before, job):
                yield latest
            job = latest

    async def _get_job(self, attempts: Attempts) -> Job:
        response = await self._transport.send(get(job_path(self._job_id)), attempts)
        return parse_document(Job, response.content, what="the job")

    async def _open_events(self) -> AsyncStreamedResponse | None:
        """Open the job's event stream; None if it is not available, or not worth opening."""
        left = self._seconds_left()
        if not self._can_listen or (left is not None and left <= _MIN_LISTEN_SECONDS):
            return None
        try:
            response = await self._transport.open_once(job_events_request(self._job_id))
        except ConnectionFailedError:
            return None
        except APIError as error:
            # The next poll shows whether the job itself is available.
            self._can_listen = error.status in RETRIED_STATUSES
            return None
        except UnexpectedAnswerError:
            self._can_listen = False
            return None
        if is_event_stream(response.headers):
            return response
        await response.aclose()
        self._can_listen = False
        return None

    async def _listen(self, response: AsyncStreamedResponse, job: Job) -> AsyncGenerator[Job]:
        """Yield the changes of a job that one connection reports."""
        parser = EventStreamParser()
        async with response:
            while data := await response.read():
                for message in parser.feed(data):
                    event = read_job_event(message)
                    self._poll_seconds = FIRST_POLL_SECONDS
                    if event.kind in ("completed", "error"):
                        self._needs_pause = event.kind == "error"
                        return
                    changed = event.applied_to(job)
                    if changed != job:
                        job = changed
                        yield job
                left = self._seconds_left()
                if left is not None and left <= _MIN_LISTEN_SECONDS:
                    self._needs_pause = False
                    return

    async def _pause(self) -> None:
        left = self._seconds_left()
        await self._transport.sleep(
            min(self._poll_seconds, self._poll_seconds if left is None else left)
        )
        self._poll_seconds = min(self._poll_seconds * 1.5, LAST_POLL_SECONDS)

    def _patient_attempts(self) -> Attempts:
        """Return attempts that wait for a server that restarts, as long as there is time."""
        policy = self._transport.policy
        limits = (policy.budget_seconds, self._seconds_left())
        budget = min((limit for limit in limits if limit is not None), default=None)
        return dataclasses.replace(
            policy,
            max_retries=sys.maxsize,
            budget_seconds=None if budget is None else max(budget, 1.0),
        ).attempts()

    def _check_timeout(self, job: Job) -> None:
        left = self._seconds_left()
        if left is not None and left <= 0:
            progress = job.progress
            raise WaitTimeoutError(
                f"the job {job.id} is {job.status} with {progress.items_done} of"
                f" {progress.items_total} items done after {self._timeout_seconds:g} s;"
                " it continues"
            )

    def _seconds_left(self) -> float | None:
        if self._timeout_seconds is None:
            return None
        return self._timeout_seconds - (self._transport.policy.clock() - self._started)
