"""The calls of the API as generators of steps: what is sent, what is tried again, what is read.

No socket, no clock of its own and no `await`: `client.py` and `async_client.py` perform the steps.
"""

from http import HTTPStatus

from service.client.answers import (
    Health,
    Instrument,
    Instruments,
    Readiness,
    ServedModel,
    ServedModels,
    Transcription,
)
from service.client.asking import IDEMPOTENCY_KEY, answered, asked_once, question
from service.client.documents import parse_object, read_document
from service.client.errors import (
    ConnectionFailedError,
    JobFailedError,
    MT3ClientError,
    ServerUnavailableError,
)
from service.client.job_calls import get_item, get_result_as, read_job
from service.client.job_following import wait
from service.client.jobs import Failure
from service.client.options import Options, ResponseFormat, query_of
from service.client.retries import RetryPolicy
from service.client.steps import Send, Steps, Wait, quietly
from service.client.uploads import Upload

TRANSCRIPTIONS = "/v1/transcriptions"
POLL_SECONDS = 0.5
"""Between two questions whether the server is ready, where it names no time."""


def transcribe(
    policy: RetryPolicy, upload: Upload, options: Options, *, idempotency_key: str
) -> Steps[Transcription]:
    """Transcribes a recording.

    Raises:
        MT3ClientError: It cannot be done.
    """
    content = yield from transcribe_to(
        policy, upload, "json", options, idempotency_key=idempotency_key
    )
    return read_document(Transcription, parse_object(content, what="the answer"))


def transcribe_to(
    policy: RetryPolicy,
    upload: Upload,
    response_format: ResponseFormat,
    options: Options,
    *,
    idempotency_key: str,
) -> Steps[bytes]:
    """Transcribes a recording to a file's bytes.

    What a server finds too long for one request it makes a job of, and answers 202: that is waited
    for here, as a longer answer would be. The key keeps a second attempt from making a second job.

    Raises:
        MT3ClientError: It cannot be done.
    """
    reply = yield from answered(
        policy,
        policy.attempts(),
        Send(
            method="POST", path=TRANSCRIPTIONS, upload=upload, read_timeout=None,
            query=query_of(options, response_format=response_format),
            headers={IDEMPOTENCY_KEY: idempotency_key},
        ),
    )  # fmt: skip
    if reply.status != HTTPStatus.ACCEPTED:
        return reply.body
    submitted = read_job(reply.body)
    job = yield from quietly(wait(policy, submitted.id, policy.budget_seconds))
    item = yield from get_item(policy, job.id, 0)
    if item.status != "succeeded":
        failure = item.error or Failure(code=item.status, message=f"{job.id} has no result")
        raise JobFailedError(failure.message, code=failure.code, job_id=job.id)
    return (yield from get_result_as(policy, job.id, item.number, response_format))


def list_models(policy: RetryPolicy) -> Steps[tuple[ServedModel, ...]]:
    """Lists the models of the server."""
    reply = yield from answered(policy, policy.attempts(), question("/v1/models"))
    return read_document(ServedModels, parse_object(reply.body, what="the list")).data


def list_instruments(policy: RetryPolicy) -> Steps[tuple[Instrument, ...]]:
    """Lists the instruments that tracks can have."""
    reply = yield from answered(policy, policy.attempts(), question("/v1/instruments"))
    return read_document(Instruments, parse_object(reply.body, what="the list")).data


def get_health(policy: RetryPolicy) -> Steps[Health]:
    """Asks once whether the process lives: a probe that tries again says nothing."""
    reply = yield from asked_once(policy, "/health")
    return read_document(Health, parse_object(reply.body, what="the answer"))


def get_readiness(policy: RetryPolicy) -> Steps[Readiness]:
    """Asks once whether the server can transcribe now."""
    try:
        reply = yield from asked_once(policy, "/ready")
    except ServerUnavailableError as error:
        if error.state is None:
            raise
        return Readiness(state=error.state)
    return read_document(Readiness, parse_object(reply.body, what="the answer"))


def wait_until_ready(policy: RetryPolicy, timeout_seconds: float) -> Steps[None]:
    """Asks until the server is ready.

    Raises:
        ConnectionFailedError: It could not be reached in all that time.
        ServerUnavailableError: It was not ready in that time, or its model has failed.
    """
    began = policy.clock()
    while True:
        asked: float | None = None
        try:
            yield from asked_once(policy, "/ready")
        except ConnectionFailedError as error:
            failure: MT3ClientError = error
        except ServerUnavailableError as error:
            if error.state == "failed":
                raise
            failure, asked = error, error.retry_after
        else:
            return
        left = timeout_seconds - (policy.clock() - began)
        if left <= 0:
            raise failure
        yield Wait(seconds=min(left, POLL_SECONDS if asked is None else asked))
