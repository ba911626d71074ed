# Generated from ../_async/jobs.py by `make sync-client`: do not edit.
"""Calls of the job API that need more than one request."""

from collections.abc import Generator
from functools import partial
from pathlib import Path

from service.client._errors import ConnectionFailedError, NotFoundError
from service.client._io import run
from service.client._job_models import Job, JobItem, JobItemPage, JobPage
from service.client._json import parse_document
from service.client._models import ResponseFormat
from service.client._requests import (
    ITEMS_PER_PAGE,
    JOBS,
    JOBS_PER_PAGE,
    Request,
    get,
    job_path,
    results_zip_request,
)
from service.client._sync.transport import StreamedResponse, Transport


def list_jobs(transport: Transport, status: str | None, limit: int | None) -> Generator[Job]:
    """Yield the jobs, latest first, page by page."""
    left, cursor = limit, None
    while left is None or left > 0:
        size = JOBS_PER_PAGE if left is None else min(JOBS_PER_PAGE, left)
        request = get(JOBS, status=status, limit=str(size), after=cursor)
        response = transport.send(request)
        page = parse_document(JobPage, response.content, what="the list")
        for job in page.data:
            yield job
        left = None if left is None else left - len(page.data)
        cursor = page.next_cursor
        if cursor is None:
            return


def list_items(transport: Transport, job_id: str, status: str | None) -> Generator[JobItem]:
    """Yield a job's items by number, page by page."""
    path, cursor = f"{job_path(job_id)}/items", None
    while True:
        request = get(path, status=status, limit=str(ITEMS_PER_PAGE), after=cursor)
        response = transport.send(request)
        page = parse_document(JobItemPage, response.content, what="the list")
        for item in page.data:
            yield item
        cursor = page.next_cursor
        if cursor is None:
            return


def delete_job(transport: Transport, job_id: str) -> None:
    """Delete a job.

    Raises:
        NotFoundError: there is no such job, and no earlier attempt can have deleted it.
    """
    attempts = transport.policy.attempts()
    try:
        transport.send(Request(method="DELETE", path=job_path(job_id)), attempts)
    except NotFoundError:
        if not attempts.made:
            raise


def download_results(
    transport: Transport, job_id: str, target: Path, response_format: ResponseFormat | None
) -> None:
    """Write all results of a job to a zip file; the file is complete or does not exist.

    Raises:
        OSError: the file cannot be written.
        MT3ClientError: the results cannot be downloaded.
    """
    request = results_zip_request(job_id, response_format)
    attempts = transport.policy.attempts()
    temporary = target.with_name(f".{target.name}.partial")
    try:
        while True:
            with transport.open(request, attempts) as response:
                try:
                    _save(response, temporary)
                    break
                except ConnectionFailedError as error:
                    failure = error
            transport.pause(attempts, failure)
        run(partial(temporary.replace, target))
    finally:
        temporary.unlink(missing_ok=True)


def _save(response: StreamedResponse, path: Path) -> None:
    with run(partial(path.open, "wb")) as file:
        while data := response.read():
            run(partial(file.write, data))
