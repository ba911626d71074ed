# Generated from ../_async/jobs.py by `make sync-client`: do not edit.
"""Calls of the job API that need more than one request."""

import sys
from collections.abc import Generator
from functools import partial
from pathlib import Path
from typing import TypeVar

from service.client._errors import ConnectionFailedError, NotFoundError
from service.client._io import run
from service.client._json import parse_list
from service.client._models import ResponseFormat
from service.client._requests import SILENCE_SECONDS, Request, get, job_path
from service.client._sync.transport import StreamedResponse, Transport

T = TypeVar("T")


def list_all(
    transport: Transport,
    shape: type[T],
    path: str,
    *,
    status: str | None,
    page_size: int,
    limit: int | None = None,
) -> Generator[T]:
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
        response = transport.send(get(path, status=status, limit=str(size), after=cursor))
        entries, cursor = parse_list(shape, response.content)
        for entry in entries:
            yield entry
        left = left - len(entries) if cursor is not None else 0


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
    request = get(
        f"{job_path(job_id)}/results.zip",
        response_format=response_format,
        read_timeout_seconds=SILENCE_SECONDS,
    )
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
