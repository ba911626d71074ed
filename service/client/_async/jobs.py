"""Calls of the job API that need more than one request."""

import sys
from collections.abc import AsyncGenerator
from functools import partial
from pathlib import Path
from typing import TypeVar

from service.client._async.transport import AsyncStreamedResponse, AsyncTransport
from service.client._errors import ConnectionFailedError, NotFoundError
from service.client._io import async_run
from service.client._json import parse_list
from service.client._models import ResponseFormat
from service.client._requests import SILENCE_SECONDS, Request, get, job_path

T = TypeVar("T")


async def list_all(
    transport: AsyncTransport,
    shape: type[T],
    path: str,
    *,
    status: str | None,
    page_size: int,
    limit: int | None = None,
) -> AsyncGenerator[T]:
    """Yield the entries of a list, page by page.

    Args:
        transport: the connections to the server.
        shape: the dataclass of an entry.
        path: the path of the list.
        status: only entries with this status; None: all.
        page_size: entries per request.
        limit: largest number of entries; None: all.
    """
    left, cursor = sys.maxsize if limit is None else limit, None
    while left > 0:
        size = min(page_size, left)
        response = await transport.send(get(path, status=status, limit=str(size), after=cursor))
        entries, cursor = parse_list(shape, response.content)
        for entry in entries:
            yield entry
        left = left - len(entries) if cursor is not None else 0


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
    request = get(
        f"{job_path(job_id)}/results.zip",
        response_format=response_format,
        read_timeout_seconds=SILENCE_SECONDS,
    )
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
