"""A job -> what happens to it, until it has ended; and the wait for that.

Both listen to the job's server-sent events. `follow` gives each of them, and after a drop asks for
what came after the last one seen. `wait` needs no more than the state of things: between two
connections it asks for the job itself, which is the truth whatever was missed, and where no events
can be had (a proxy that keeps them back, a server that restarts) it asks now and then instead.
"""

import dataclasses
import sys
from http import HTTPStatus

from service.client.asking import answered
from service.client.documents import parse_object, read_document
from service.client.errors import (
    APIError,
    ConnectionFailedError,
    UnexpectedAnswerError,
    WaitTimeoutError,
    error_of_event,
)
from service.client.event_stream import EventStreamParser, Message
from service.client.job_calls import get_job, job_path
from service.client.jobs import Job, JobEvent, JobItem, JobProgress
from service.client.retries import FIRST_BOUND_SECONDS, RETRIED, RetryPolicy
from service.client.steps import Close, Give, GivingSteps, Lost, Reply, Send, Wait, read, send

SILENCE_SECONDS = 60.0
"""After which a stream counts as dropped: four of the server's heartbeats."""
FIRST_PAUSE_SECONDS, LAST_PAUSE_SECONDS = 0.5, 10.0
"""Between two questions for a job whose events cannot be had; each is half as long again."""
_SHORT_SECONDS = 20.0
"""With less time left, a wait asks and does not listen: a silent stream could outlast it."""


def follow(policy: RetryPolicy, job_id: str) -> GivingSteps[JobEvent, None]:
    """Gives a job's events until it has ended.

    Raises:
        MT3ClientError: They cannot be had, or not any more.
    """
    attempts = policy.attempts()
    bound, seen = FIRST_BOUND_SECONDS, ""
    while True:
        step = _listening(job_id, after=seen)
        reply = yield from answered(policy, attempts, step, bound_seconds=bound)
        if reply.status == HTTPStatus.NO_CONTENT:
            return  # it has ended, and that was told before
        if not _is_event_stream(reply):
            raise UnexpectedAnswerError("the answer is no event stream: this server has no events")
        failure = ConnectionFailedError("the stream ended before its job did")
        parser = EventStreamParser()
        while data := (yield from read()):
            if isinstance(data, Lost):
                failure = ConnectionFailedError(data.reason)
                break
            for message in parser.feed(data):
                if message.kind == "error":
                    raise error_of_event(parse_object(message.data, what="the event 'error'"))
                event = read_event(message)
                yield Give(value=event)
                seen = seen if message.id is None else message.id
                attempts.restart()
                if event.kind == "completed":
                    yield Close()
                    return
            bound = parser.retry_seconds or bound
        yield Close()
        wait = attempts.next_wait(bound_seconds=bound)
        if wait is None:
            raise failure
        yield Wait(seconds=wait)


def wait(policy: RetryPolicy, job_id: str, timeout_seconds: float | None) -> GivingSteps[Job, Job]:
    """Waits for a job's end, and gives the job as it changes.

    Raises:
        WaitTimeoutError: It has not ended in that time.
        ConnectionFailedError: The server could not be reached for as long as a call may take.
        MT3ClientError: There is no such job (any more), or the key does not open it.
    """
    return (yield from _Wait(policy, job_id, timeout_seconds).run())


class _Wait:
    """One wait: how long it still may be, and whether listening is of use."""

    def __init__(self, policy: RetryPolicy, job_id: str, timeout_seconds: float | None) -> None:
        self._policy = policy
        self._job_id = job_id
        self._began = policy.clock()
        self._timeout_seconds = timeout_seconds
        self._may_listen = True
        self._pause_seconds = FIRST_PAUSE_SECONDS

    def run(self) -> GivingSteps[Job, Job]:
        """Listens and asks in turn."""
        job = yield from get_job(self._policy, self._job_id)
        yield Give(value=job)
        while not job.is_ended:
            left = self._seconds_left()
            if left is not None and left <= 0:
                progress = job.progress
                raise WaitTimeoutError(
                    f"the job {job.id} is {job.status} with {progress.items_done} of"
                    f" {progress.items_total} items done after {self._timeout_seconds:g} s;"
                    " it goes on"
                )
            if self._may_listen and (left is None or left > _SHORT_SECONDS):
                yield from self._listen(job)
            else:
                yield from self._rest()
            before, job = job, (yield from get_job(self._patient(), self._job_id))
            if job != before:
                yield Give(value=job)
        return job

    def _rest(self) -> GivingSteps[Job, None]:
        left = self._seconds_left()
        yield Wait(seconds=min(self._pause_seconds, self._pause_seconds if left is None else left))
        self._pause_seconds = min(self._pause_seconds * 1.5, LAST_PAUSE_SECONDS)

    def _listen(self, job: Job) -> GivingSteps[Job, None]:
        """Follows one connection to its end, and rests where it ended for no good reason."""
        outcome = yield from send(_listening(self._job_id))
        is_over = False
        if isinstance(outcome, Reply) and outcome.is_success and _is_event_stream(outcome):
            try:
                is_over = yield from self._hear(job)
            except (UnexpectedAnswerError, APIError):
                self._may_listen = False
        elif isinstance(outcome, Reply) and outcome.status not in RETRIED:
            # No events here. Whether the job itself can be had, the next question tells.
            self._may_listen = False
        yield Close()
        if not is_over:
            yield from self._rest()

    def _hear(self, job: Job) -> GivingSteps[Job, bool]:
        """Gives what a connection brings; returns whether the job, or the time, has ended."""
        parser = EventStreamParser()
        while True:
            data = yield from read()
            if isinstance(data, Lost) or not data:
                return False
            for message in parser.feed(data):
                event = read_event(message)
                self._pause_seconds = FIRST_PAUSE_SECONDS
                if event.kind in ("completed", "error"):
                    return event.kind == "completed"
                changed = event.applied_to(job)
                if changed != job:
                    job = changed
                    yield Give(value=job)
            left = self._seconds_left()
            if left is not None and left <= _SHORT_SECONDS:
                return True

    def _patient(self) -> RetryPolicy:
        """For questions between: a server that restarts is waited for, while there is time."""
        limits = [self._policy.budget_seconds, self._seconds_left()]
        budget = min((limit for limit in limits if limit is not None), default=None)
        return dataclasses.replace(
            self._policy,
            max_retries=sys.maxsize,
            budget_seconds=None if budget is None else max(budget, 1.0),
        )

    def _seconds_left(self) -> float | None:
        if self._timeout_seconds is None:
            return None
        return self._timeout_seconds - (self._policy.clock() - self._began)


def read_event(message: Message) -> JobEvent:
    """Reads an event; of a kind that is not known here, no more than that it was.

    Raises:
        UnexpectedAnswerError: What it has to say cannot be read.
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


def _listening(job_id: str, *, after: str = "") -> Send:
    headers = {"accept": "text/event-stream", "accept-encoding": "identity"}
    if after:
        headers["last-event-id"] = after
    return Send(
        method="GET", path=f"{job_path(job_id)}/events", headers=headers,
        read_timeout=SILENCE_SECONDS, streamed=True,
    )  # fmt: skip


def _is_event_stream(reply: Reply) -> bool:
    kind = reply.headers.get("content-type", "")
    return kind.partition(";")[0].strip().lower() == "text/event-stream"
