"""Calls of the job API that need more than one request."""

from collections.abc import AsyncGenerator
from functools import partial
from pathlib import Path

from service.client._async.transport import AsyncStreamedResponse, AsyncTransport
from service.client._errors import ConnectionFailedError, NotFoundError
from service.client._io import async_run
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


async def list_jobs(
    transport: AsyncTransport, status: str | None, limit: int | None
) -> AsyncGenerator[Job]:
    """Yield the jobs, latest first, page by page."""
    left, cursor = limit, None
    while left is None or left > 0:
        size = JOBS_PER_PAGE if left is None else min(JOBS_PER_PAGE, left)
        request = get(JOBS, status=status, limit=str(size), after=cursor)
        response = await transport.send(request)
        page = parse_document(JobPage, response.content, what="the list")
        for job in page.data:
            yield job
        left = None if left is None else left - len(page.data)
        cursor = page.next_cursor
        if cursor is None:
            return


async def list_items(
    transport: AsyncTransport, job_id: str, status: str | None
) -> AsyncGenerator[JobItem]:
    """Yield a job's items by number, page by page."""
    path, cursor = f"{job_path(job_id)}/items", None
    while True:
        request = get(path, status=status, limit=str(ITEMS_PER_PAGE), after=cursor)
        response = await transport.send(request)
        page = parse_document(JobItemPage, response.content, what="the list")
        for item in page.data:
            yield item
        cursor = page.next_cursor
        if cursor is None:
            return


async def delete_job(transport: AsyncTransport, job_id: str) -> None:
    """Delete a job.

    Raises:
        NotFoundError: there is no such job, and no earlier attempt can have deleted it.
    """
    attempts = transport.policy.attempts()
    try:
        await transport.send(Request(method="DELETE", path=job_path(job_id)), attempts)
    except NotFoundError:
        if not attempts.made:
            raise


async def download_results(
    transport: AsyncTransport, job_id: str, target: Path, response_format: ResponseFormat | None
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
            async with await transport.open(request, attempts) as response:
                try:
                    await _save(response, temporary)
                    break
                except ConnectionFailedError as error:
                    failure = error
            await transport.pause(attempts, failure)
        await async_run(partial(temporary.replace, target))
    finally:
        temporary.unlink(missing_ok=True)


async def _save(response: AsyncStreamedResponse, path: Path) -> None:
    with await async_run(partial(path.open, "wb")) as file:
        while data := await response.read():
            await async_run(partial(file.write, data))
