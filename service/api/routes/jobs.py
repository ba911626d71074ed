"""`/v1/jobs`: recordings transcribed in the background, and their results.

Callers see only their own jobs: for another caller's job the answer is that it does not exist.
`service/jobs` defines what a job is and the states it goes through.
"""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator
from typing import TYPE_CHECKING, Annotated

from fastapi import APIRouter, Depends, Header, Path, Query, Request, Response
from fastapi.responses import StreamingResponse

from mt3_model.export.formats import ExportFormat, export
from mt3_model.export.record import from_record
from service.api.accept import choose_format
from service.api.dependencies import (
    JobsCallerDependency,
    JobStreamsDependency,
    JobSubmitterDependency,
    ServiceDependency,
    refuse_unknown_query,
)
from service.api.jobs.job_archive import write_archive
from service.api.jobs.job_events import parse_event_cursor
from service.api.jobs.job_openapi import (
    ARCHIVE_RESPONSES,
    EVENTS_RESPONSES,
    JOB_BODY,
    JOB_PROBLEMS,
    RECORDING_RESPONSES,
    RECORDING_TYPE,
    RESULT_RESPONSES,
    SUBMISSION_RESPONSES,
)
from service.api.jobs.job_submitter import job_accepted
from service.api.request_normalization import head_of_stream, is_head
from service.api.server_sent_events import EVENT_STREAM_HEADERS
from service.api.server_sent_events import MEDIA_TYPE as EVENTS_TYPE
from service.api.uploads.file_names import content_disposition, safe_stem
from service.api.uploads.upload_limiter import upload_owner
from service.api.warning_headers import warning_headers
from service.auth.caller import Caller
from service.errors import JobConflictError, JobNotFoundError, StorageNotFoundError
from service.jobs.documents import JOBS_PATH, describe_item, describe_job
from service.jobs.job import Item, Job, JobState, is_job_id
from service.schemas.job_response import (
    JobItemListResponse,
    JobItemResponse,
    JobListResponse,
    JobResponse,
)
from service.schemas.option_reading import read_options
from service.schemas.schema import PlainInteger, StateName

if TYPE_CHECKING:
    # They come with the jobs: a server without jobs starts without SQLAlchemy and DBOS.
    from service.jobs.running.job_queue import JobQueue
    from service.jobs.running.job_service import JobService

router = APIRouter(prefix=JOBS_PATH, tags=["jobs"], responses=JOB_PROBLEMS)
MAX_ITEMS_PER_PAGE = 1_000
MAX_JOBS_PER_PAGE = 100
"""Fewer than items: each job's progress is counted."""
_ARCHIVE_PAGE = 200
_KNOWN_QUERY = Depends(refuse_unknown_query)

JobId = Annotated[str, Path(alias="id", description="Id of the job.", examples=["job_5186d10e"])]
ItemNumber = Annotated[
    PlainInteger, Path(alias="number", ge=0, description="Number of the item, from 0.")
]
Status = Annotated[
    StateName | None, Query(alias="status", description="Only jobs or items in this state.")
]
After = Annotated[str | None, Query(description="`next_cursor` of the previous page.")]
ResponseFormat = Annotated[
    str | None,
    Query(
        description="Format of the result; without it, the one that `Accept` prefers, else the"
        " job's own, else `json`."
    ),
]


@router.post(
    "",
    summary="Submit a job",
    status_code=202,
    response_model=JobResponse,
    responses=SUBMISSION_RESPONSES,
    openapi_extra={"requestBody": JOB_BODY},
)
async def create_job(
    request: Request,
    caller: JobsCallerDependency,
    submitter: JobSubmitterDependency,
    idempotency_key: Annotated[
        str | None,
        Header(description="Repeating a request with the same key and body returns the same job."),
    ] = None,
) -> Response:
    """Submit one or many recordings to be transcribed in the background.

    Send the recordings as parts named `file` of a form, with the options as fields beside them, or
    send JSON that names recordings for the server to fetch. The job is returned immediately; follow
    it at `GET /v1/jobs/{id}`, as events, or with a webhook. If a recording cannot be transcribed,
    only its own item fails, not the job.

        curl -F file=@one.mp3 -F file=@two.mp3 -F response_format=midi $MT3_SERVER/v1/jobs

        curl --json '{"inputs": [{"url": "https://example.org/song.mp3"}]}' $MT3_SERVER/v1/jobs
    """
    del idempotency_key  # the submitter reads the header itself, and refuses a bad one
    submitted = await submitter.submit(request, caller)
    return job_accepted(submitted.job)


@router.get("", summary="List jobs", dependencies=[_KNOWN_QUERY])
async def list_jobs(
    service: ServiceDependency,
    caller: JobsCallerDependency,
    status: Status = None,
    limit: Annotated[PlainInteger, Query(ge=1, le=MAX_JOBS_PER_PAGE)] = 20,
    after: After = None,
) -> JobListResponse:
    """List your jobs, newest first."""
    page = await service.jobs.queue.list_jobs(
        caller.name, state=_state(status), limit=limit, after=after
    )
    return JobListResponse(
        object="list", data=[describe_job(job) for job in page.jobs], next_cursor=page.next_cursor
    )


@router.get("/{id}", summary="Get a job")
async def get_job(
    job_id: JobId, service: ServiceDependency, caller: JobsCallerDependency
) -> JobResponse:
    """Return a job's state, progress and times."""
    return describe_job(await _find(service.jobs.queue, caller, job_id))


@router.post("/{id}/cancel", summary="Cancel a job")
async def cancel_job(
    job_id: JobId, service: ServiceDependency, caller: JobsCallerDependency
) -> JobResponse:
    """Cancel all items that have not ended yet. Existing results are kept.

    Nothing changes if the job has ended.
    """
    return describe_job(await service.jobs.queue.cancel(caller.name, _checked(job_id)))


@router.post("/{id}/retry", summary="Retry the failed items of a job")
async def retry_job(
    job_id: JobId, service: ServiceDependency, caller: JobsCallerDependency
) -> JobResponse:
    """Put the failed items of a job back into the queue.

    Nothing changes if no item has failed. A canceled job cannot be retried (409).
    """
    return describe_job(await service.jobs.queue.retry(caller.name, _checked(job_id)))


@router.delete("/{id}", summary="Delete a job", status_code=204)
async def delete_job(
    job_id: JobId, service: ServiceDependency, caller: JobsCallerDependency
) -> Response:
    """Delete a job with its recordings and results, even while it runs."""
    await service.jobs.queue.delete(caller.name, _checked(job_id))
    return Response(status_code=204)


@router.get("/{id}/items", summary="List the items of a job", dependencies=[_KNOWN_QUERY])
async def list_job_items(
    job_id: JobId,
    service: ServiceDependency,
    caller: JobsCallerDependency,
    *,
    status: Status = None,
    limit: Annotated[PlainInteger, Query(ge=1, le=MAX_ITEMS_PER_PAGE)] = 100,
    after: After = None,
) -> JobItemListResponse:
    """List the recordings of a job in the order submitted, each with its own state."""
    page = await service.jobs.queue.list_items(
        caller.name, _checked(job_id), state=_state(status), limit=limit, after=after
    )
    return JobItemListResponse(
        object="list",
        data=[describe_item(item) for item in page.items],
        next_cursor=page.next_cursor,
    )


@router.get("/{id}/items/{number}", summary="Get an item of a job")
async def get_job_item(
    job_id: JobId, number: ItemNumber, service: ServiceDependency, caller: JobsCallerDependency
) -> JobItemResponse:
    """Return the state of one recording, with the reason if it failed."""
    return describe_item(await service.jobs.queue.get_item(caller.name, _checked(job_id), number))


@router.get(
    "/{id}/items/{number}/result",
    summary="Get the transcription of an item",
    response_class=Response,
    responses=RESULT_RESPONSES,
    dependencies=[_KNOWN_QUERY],
)
async def get_job_result(
    *,
    request: Request,
    job_id: JobId,
    number: ItemNumber,
    service: ServiceDependency,
    caller: JobsCallerDependency,
    response_format: ResponseFormat = None,
) -> Response:
    """Return the transcription of one recording, in any format.

    The answer is 409 until the item has succeeded.
    """
    jobs = service.jobs
    job = await _find(jobs.queue, caller, job_id)
    export_format = _choose_format(job, response_format, request.headers.get("accept"))
    item = await jobs.queue.get_item(caller.name, job.job_id, number)
    _require_success(item)
    content = await _read_result(jobs, item, export_format)
    headers = {
        "Content-Disposition": content_disposition(
            item.name, export_format, otherwise=f"transcription-{number:06d}"
        ),
        **warning_headers(item.warnings),
    }
    return Response(content, media_type=export_format.media_type, headers=headers)


@router.get(
    "/{id}/items/{number}/recording",
    summary="Get the recording of an item",
    response_class=Response,
    responses=RECORDING_RESPONSES,
)
async def get_job_recording(
    *,
    request: Request,
    job_id: JobId,
    number: ItemNumber,
    service: ServiceDependency,
    caller: JobsCallerDependency,
) -> Response:
    """Return a recording as it was uploaded; it is kept as long as its job.

    The answer is 404 for a recording that the server fetched from an address.
    """
    service.refuse_while_draining()
    item = await service.jobs.queue.get_item(caller.name, _checked(job_id), number)
    if item.source.kind != "upload":
        raise StorageNotFoundError("the recording was not uploaded, so it is not kept here")
    size, pieces = await service.jobs.objects.open(item.source.reference)
    headers = {
        "Content-Length": str(size),
        "Content-Disposition": f'attachment; filename="recording-{number:06d}"',
    }
    if is_head(request):
        await pieces.aclose()
        return head_of_stream(RECORDING_TYPE, headers)
    return StreamingResponse(_closing(pieces), media_type=RECORDING_TYPE, headers=headers)


@router.get(
    "/{id}/results.zip",
    summary="Download all results of a job",
    response_class=Response,
    responses=ARCHIVE_RESPONSES,
    dependencies=[_KNOWN_QUERY],
)
async def get_job_results(
    request: Request,
    job_id: JobId,
    service: ServiceDependency,
    caller: JobsCallerDependency,
    response_format: ResponseFormat = None,
) -> Response:
    """Download all results as a zip, with files named after the recordings.

    `items.jsonl` in the zip lists every item with the name of its file, or the reason why it has
    none. The answer is 409 until the job has ended.
    """
    service.refuse_while_draining()
    jobs = service.jobs
    job = await _find(jobs.queue, caller, job_id)
    export_format = _choose_format(job, response_format, None)
    if not job.state.is_final:
        raise JobConflictError(
            f"the job is {job.state.value}; the zip of its results is available once it has ended"
        )

    async def read_result(item: Item) -> bytes:
        return await _read_result(jobs, item, export_format)

    headers = {"Content-Disposition": f'attachment; filename="{job.job_id}.zip"'}
    if is_head(request):  # the archive is written while it is sent, and nothing will be sent
        return head_of_stream("application/zip", headers)
    archive = write_archive(_all_items(jobs.queue, caller, job.job_id), export_format, read_result)
    return StreamingResponse(_closing(archive), media_type="application/zip", headers=headers)


@router.get(
    "/{id}/events", summary="Follow a job", response_class=Response, responses=EVENTS_RESPONSES
)
async def stream_job_events(
    *,
    request: Request,
    job_id: JobId,
    service: ServiceDependency,
    caller: JobsCallerDependency,
    streams: JobStreamsDependency,
    last_event_id: Annotated[
        str | None,
        Header(description="Id of the last event seen; by default the stream starts at the first."),
    ] = None,
) -> Response:
    """Stream the history of a job as server-sent events, until the job ends.

    After a lost connection, send `Last-Event-ID` to continue; browsers do so by themselves. The
    answer is 204 if there are no events after that one.

        curl -N $MT3_SERVER/v1/jobs/job_5186d10e93f9f0325186d10e/events
    """
    service.refuse_while_draining()
    cursor = parse_event_cursor(last_event_id)
    job = await _find(service.jobs.queue, caller, job_id)
    if job.state.is_final and cursor.state is job.state:
        return Response(status_code=204)  # also stops a browser from reconnecting
    if is_head(request):
        return head_of_stream(EVENTS_TYPE, EVENT_STREAM_HEADERS)
    return streams.response(service.jobs.queue, job, cursor, upload_owner(request, caller))


def _state(name: str | None) -> JobState | None:
    return None if name is None else JobState(name)


def _checked(job_id: str) -> str:
    if not is_job_id(job_id):
        raise JobNotFoundError("there is no such job; expected an id that POST /v1/jobs returned")
    return job_id


async def _find(queue: "JobQueue", caller: Caller, job_id: str) -> Job:
    return await queue.get(caller.name, _checked(job_id))


def _choose_format(job: Job, named: str | None, accept: str | None) -> ExportFormat:
    """Choose the format of a result: requested, else accepted, else the job's own."""
    requested = read_options([("response_format", named)]).response_format
    if requested is not None:
        return requested
    own = ExportFormat(job.response_format or ExportFormat.JSON.value)
    if accept is None or "*/*" in accept:
        return own
    return choose_format(accept)


def _require_success(item: Item) -> None:
    if item.state is JobState.SUCCEEDED:
        return
    why = f" ({item.error.code}: {item.error.message})" if item.error else ""
    raise JobConflictError(
        f"item {item.number} is {item.state.value}{why}; only succeeded items have a result"
    )


async def _read_result(jobs: "JobService", item: Item, export_format: ExportFormat) -> bytes:
    record = await jobs.objects.get(item.result_key)
    return await asyncio.to_thread(
        lambda: export(
            from_record(record),
            export_format,
            transcription_id=f"tr_{item.job_id.removeprefix('job_')}_{item.number}",
            created=int(item.ended_at or item.created_at),
            title=safe_stem(item.name),
        )
    )


async def _all_items(queue: "JobQueue", caller: Caller, job_id: str) -> AsyncIterator[Item]:
    after: str | None = None
    while True:
        page = await queue.list_items(caller.name, job_id, limit=_ARCHIVE_PAGE, after=after)
        for item in page.items:
            yield item
        after = page.next_cursor
        if after is None:
            return


async def _closing(pieces: AsyncGenerator[bytes]) -> AsyncGenerator[bytes]:
    """Close the generator when the client disconnects; Starlette does not."""
    async with contextlib.aclosing(pieces):
        async for piece in pieces:
            yield piece
