"""The calls of the job API as generators of steps: submitting, looking, changing, fetching."""

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

from service.client.answers import Transcription
from service.client.asking import IDEMPOTENCY_KEY, QUICK_SECONDS, answered, question
from service.client.bodies import Document, Form, Recordings
from service.client.documents import parse_object, read_document
from service.client.errors import ConnectionFailedError, NotFoundError
from service.client.jobs import ItemPage, Job, JobItem, JobPage
from service.client.options import Options, ResponseFormat, query_of
from service.client.retries import RetryPolicy
from service.client.steps import Close, Give, GivingSteps, Lost, Send, Steps, Wait, Work, read
from service.client.uploads import Body

JOBS = "/v1/jobs"
JOBS_ON_A_PAGE, ITEMS_ON_A_PAGE = 100, 1_000
"""Asked for at a time: as many as the server gives."""
SILENCE_SECONDS = 60.0
"""Of a download; the server writes it as it goes."""
_ID = re.compile(r"[\w-]{1,128}\Z", re.ASCII)
"""What may stand in a path as it is."""
T = TypeVar("T")


def submit(
    policy: RetryPolicy,
    files: Recordings | None,
    *,
    urls: Sequence[str],
    objects: Sequence[str],
    options: Options,
    response_format: ResponseFormat | None,
    metadata: Mapping[str, Any] | None,
    webhook_url: str | None,
    webhook_secret: str | None,
    expires_in: float | None,
    idempotency_key: str,
) -> Steps[Job]:
    """Submits recordings as one job.

    Raises:
        ValueError: No recordings, or files beside addresses: a request carries one or the other.
        OSError: A file cannot be read.
        MT3ClientError: It cannot be done.
    """
    if (files is None) == (not urls and not objects):
        raise ValueError("expected either files, or urls and objects; submit the two apart")
    if webhook_secret is not None and webhook_url is None:
        raise ValueError("webhook_secret goes with webhook_url")
    query: tuple[tuple[str, str], ...] = ()
    chosen = {**options, "response_format": response_format}
    if files is None:
        webhook = {"url": webhook_url, "secret": webhook_secret}
        document: dict[str, object] = {
            "inputs": [*({"url": url} for url in urls), *({"object": key} for key in objects)],
            "options": {name: value for name, value in chosen.items() if value is not None},
            "webhook": {name: value for name, value in webhook.items() if value is not None},
            "metadata": None if metadata is None else dict(metadata),
            "expires_in_seconds": expires_in,
        }
        # What is left out, the server chooses.
        body: Body = Document({k: v for k, v in document.items() if v not in (None, {})})
    else:
        more = {
            "metadata": None
            if metadata is None
            else json.dumps(dict(metadata), allow_nan=False, sort_keys=True),
            "webhook_url": webhook_url,
            "webhook_secret": webhook_secret,
            "expires_in_seconds": None if expires_in is None else str(expires_in),
        }
        given = [(name, value) for name, value in more.items() if value is not None]
        body = Form(files, given, seed=idempotency_key)
        # In the query, so that a wrong one is refused before the files; no secret goes there.
        query = query_of(
            options, **({"response_format": response_format} if response_format else {})
        )
    reply = yield from answered(
        policy,
        policy.attempts(),
        Send(
            method="POST", path=JOBS, query=query, upload=body, read_timeout=None,
            headers={IDEMPOTENCY_KEY: idempotency_key},
        ),
    )  # fmt: skip
    return read_job(reply.body)


def get_job(policy: RetryPolicy, job_id: str) -> Steps[Job]:
    """Says how a job is now."""
    reply = yield from answered(policy, policy.attempts(), question(job_path(job_id)))
    return read_job(reply.body)


def list_jobs(policy: RetryPolicy, status: str | None, limit: int | None) -> GivingSteps[Job, None]:
    """Gives the jobs, latest first, page by page."""
    left, cursor = limit, None
    while left is None or left > 0:
        size = JOBS_ON_A_PAGE if left is None else min(JOBS_ON_A_PAGE, left)
        page = yield from _page(policy, JobPage, JOBS, status=status, limit=size, after=cursor)
        for job in page.data:
            yield Give(value=job)
        left = None if left is None else left - len(page.data)
        cursor = page.next_cursor
        if cursor is None:
            return


def list_items(policy: RetryPolicy, job_id: str, status: str | None) -> GivingSteps[JobItem, None]:
    """Gives a job's items by number, page by page."""
    cursor: str | None = None
    while True:
        path = f"{job_path(job_id)}/items"
        page = yield from _page(
            policy, ItemPage, path, status=status, limit=ITEMS_ON_A_PAGE, after=cursor
        )
        for item in page.data:
            yield Give(value=item)
        cursor = page.next_cursor
        if cursor is None:
            return


def get_item(policy: RetryPolicy, job_id: str, number: int) -> Steps[JobItem]:
    """Says how an item is now."""
    reply = yield from answered(policy, policy.attempts(), question(_item_path(job_id, number)))
    return read_document(JobItem, parse_object(reply.body, what="the item"), where="the item")


def cancel(policy: RetryPolicy, job_id: str) -> Steps[Job]:
    """Gives up what is not finished. Doing so twice is doing so once."""
    return (yield from _changed(policy, f"{job_path(job_id)}/cancel"))


def retry(policy: RetryPolicy, job_id: str) -> Steps[Job]:
    """Puts failed items back into the queue. Doing so twice is doing so once."""
    return (yield from _changed(policy, f"{job_path(job_id)}/retry"))


def delete(policy: RetryPolicy, job_id: str) -> Steps[None]:
    """Removes a job.

    Raises:
        NotFoundError: There is none; not where an attempt whose answer was lost has removed it.
    """
    attempts = policy.attempts()
    step = Send(method="DELETE", path=job_path(job_id), read_timeout=QUICK_SECONDS)
    try:
        yield from answered(policy, attempts, step)
    except NotFoundError:
        if not attempts.made:
            raise


def get_result(policy: RetryPolicy, job_id: str, number: int) -> Steps[Transcription]:
    """Fetches an item's transcription."""
    content = yield from get_result_as(policy, job_id, number, "json")
    return read_document(Transcription, parse_object(content, what="the result"))


def get_result_as(
    policy: RetryPolicy, job_id: str, number: int, response_format: ResponseFormat
) -> Steps[bytes]:
    """Fetches an item's result as a file's bytes."""
    query = (("response_format", response_format),)
    step = Send(
        method="GET", path=f"{_item_path(job_id, number)}/result", query=query,
        read_timeout=SILENCE_SECONDS,
    )  # fmt: skip
    return (yield from answered(policy, policy.attempts(), step)).body


def download_results(
    policy: RetryPolicy, job_id: str, target: Path, response_format: ResponseFormat | None
) -> Steps[None]:
    """Writes all results as a zip, beside its name first: what has that name is whole.

    Raises:
        OSError: It cannot be written.
        MT3ClientError: It cannot be fetched.
    """
    attempts = policy.attempts()
    step = Send(
        method="GET", path=f"{job_path(job_id)}/results.zip", read_timeout=SILENCE_SECONDS,
        query=() if response_format is None else (("response_format", response_format),),
        streamed=True,
    )  # fmt: skip
    partial = target.with_name(f".{target.name}.partial")
    try:
        while True:
            yield from answered(policy, attempts, step)
            lost = yield from _saved(partial)
            yield Close()
            if lost is None:
                break
            wait = attempts.next_wait()
            if wait is None:
                raise ConnectionFailedError(lost.reason)
            yield Wait(seconds=wait)
        partial.replace(target)
    finally:
        partial.unlink(missing_ok=True)


def job_path(job_id: str) -> str:
    """Where a job is.

    Raises:
        ValueError: No job has such an id.
    """
    if not _ID.match(job_id):
        raise ValueError(f"job_id is {job_id[:100]!r}; expected one that the server gave")
    return f"{JOBS}/{job_id}"


def read_job(body: bytes | str) -> Job:
    """Reads a job's document.

    Raises:
        UnexpectedAnswerError: It is none.
    """
    return read_document(Job, parse_object(body, what="the job"), where="the job")


def _item_path(job_id: str, number: int) -> str:
    return f"{job_path(job_id)}/items/{number}"


def _page(
    policy: RetryPolicy,
    shape: type[T],
    path: str,
    *,
    status: str | None,
    limit: int,
    after: str | None,
) -> Steps[T]:
    query = {"status": status, "limit": str(limit), "after": after}
    given = tuple((name, value) for name, value in query.items() if value is not None)
    reply = yield from answered(policy, policy.attempts(), question(path, given))
    return read_document(shape, parse_object(reply.body, what="the list"), where="the list")


def _changed(policy: RetryPolicy, path: str) -> Steps[Job]:
    step = Send(method="POST", path=path, read_timeout=QUICK_SECONDS)
    reply = yield from answered(policy, policy.attempts(), step)
    return read_job(reply.body)


def _saved(partial: Path) -> Steps[Lost | None]:
    """Writes the answer held open to a file; gives how it was lost, if it was."""
    with partial.open("wb") as file:
        while True:
            data = yield from read()
            if isinstance(data, Lost):
                return data
            if not data:
                return None
            yield _writing(file, data)


def _writing(file: BinaryIO, data: bytes) -> Work:
    def write() -> None:
        file.write(data)

    return Work(action=write)
