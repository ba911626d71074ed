"""`/v1/jobs`: recordings that are kept until they are transcribed, and results that wait.

A job is somebody's: another caller's is as if it were not there. What a job is and goes through,
`service/jobs` says; here it is put into HTTP.
"""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator
from typing import Annotated, Any

from fastapi import APIRouter, Header, Path, Query, Request, Response
from fastapi.responses import JSONResponse, StreamingResponse

from mt3_model.export.formats import ExportFormat, export
from mt3_model.export.record import from_record
from service.api.accept import choose_format
from service.api.dependencies import (
    JobsCallerDependency,
    JobStreamsDependency,
    JobSubmitterDependency,
    ServiceDependency,
)
from service.api.jobs.job_archive import write_archive
from service.api.jobs.job_events import parse_event_cursor
from service.api.jobs.job_openapi import (
    ARCHIVE_RESPONSES,
    EVENTS_RESPONSES,
    JOB_BODY,
    JOB_PROBLEMS,
    RESULT_RESPONSES,
    SUBMISSION_RESPONSES,
)
from service.api.request_normalization import head_of_stream, is_head
from service.api.server_sent_events import EVENT_STREAM_HEADERS
from service.api.server_sent_events import MEDIA_TYPE as EVENTS_TYPE
from service.api.uploads.file_names import content_disposition
from service.api.uploads.upload_limiter import upload_owner
from service.auth.caller import Caller
from service.errors import JobConflictError, JobNotFoundError
from service.jobs.documents import JOBS_PATH, item_document, job_document, job_path
from service.jobs.job import Item, Job, JobState, is_job_id
from service.jobs.queue import JobQueue
from service.jobs.running.job_service import RunningJobs
from service.schemas.job_response import (
    JobItemListResponse,
    JobItemResponse,
    JobListResponse,
    JobResponse,
)
from service.schemas.option_reading import read_options
from service.schemas.schema import PlainInteger, StateName

router = APIRouter(prefix=JOBS_PATH, tags=["jobs"], responses=JOB_PROBLEMS)
MAX_PAGE = 1_000
"""Of a list of items; of jobs, each of which is counted, a tenth."""
_PAGE_OF_ARCHIVE = 200

JobId = Annotated[str, Path(alias="id", description="Id of the job.", examples=["job_5186d10e"])]
ItemNumber = Annotated[
    PlainInteger, Path(alias="number", ge=0, description="Number of the item, from 0.")
]
Status = Annotated[StateName | None, Query(alias="status", description="Only those in this state.")]
After = Annotated[str | None, Query(description="`next_cursor` of the page before.")]
ResponseFormat = Annotated[
    str | None,
    Query(description="Form of the result; when absent, what Accept prefers, the job's own, json."),
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
    submission: JobSubmitterDependency,
    idempotency_key: Annotated[
        str | None,
        Header(description="The same key with the same body gives the same job, made once."),
    ] = None,
) -> Response:
    """Accepts recordings to be transcribed later: a form with files, or JSON that names them.

    curl -F file=@one.mp3 -F file=@two.mp3 -F response_format=midi $MT3_SERVER/v1/jobs
    """
    del idempotency_key  # read from the head, with its own refusals
    submitted = await submission.submit(request, caller)
    return job_accepted(submitted.job)


@router.get("", summary="List jobs", response_model=JobListResponse)
async def list_jobs(
    service: ServiceDependency,
    caller: JobsCallerDependency,
    status: Status = None,
    limit: Annotated[PlainInteger, Query(ge=1, le=MAX_PAGE // 10)] = 20,
    after: After = None,
) -> Response:
    """Lists the caller's jobs, the latest first."""
    page = await service.jobs.queue.list_jobs(
        caller.name, state=_state(status), limit=limit, after=after
    )
    return _page([job_document(job) for job in page.jobs], page.next_cursor)


@router.get("/{id}", summary="Get a job", response_model=JobResponse)
async def get_job(
    job_id: JobId, service: ServiceDependency, caller: JobsCallerDependency
) -> Response:
    """Gives the job's state, progress and times."""
    return JSONResponse(job_document(await _find(service.jobs.queue, caller, job_id)))


@router.post("/{id}/cancel", summary="Cancel a job", response_model=JobResponse)
async def cancel_job(
    job_id: JobId, service: ServiceDependency, caller: JobsCallerDependency
) -> Response:
    """Cancels the items that have not ended; results that are there stay."""
    job = await service.jobs.queue.cancel(caller.name, _checked(job_id))
    return JSONResponse(job_document(job))


@router.post("/{id}/retry", summary="Retry the failed items of a job", response_model=JobResponse)
async def retry_job(
    job_id: JobId, service: ServiceDependency, caller: JobsCallerDependency
) -> Response:
    """Tries the failed items again; without any, nothing changes."""
    job = await service.jobs.queue.retry(caller.name, _checked(job_id))
    return JSONResponse(job_document(job))


@router.delete("/{id}", summary="Delete a job", status_code=204)
async def delete_job(
    job_id: JobId, service: ServiceDependency, caller: JobsCallerDependency
) -> Response:
    """Removes a job, running or not, with its recordings and results."""
    await service.jobs.queue.delete(caller.name, _checked(job_id))
    return Response(status_code=204)


@router.get("/{id}/items", summary="List the items of a job", response_model=JobItemListResponse)
async def list_job_items(
    job_id: JobId,
    service: ServiceDependency,
    caller: JobsCallerDependency,
    *,
    status: Status = None,
    limit: Annotated[PlainInteger, Query(ge=1, le=MAX_PAGE)] = 100,
    after: After = None,
) -> Response:
    """Lists a job's items by number."""
    page = await service.jobs.queue.list_items(
        caller.name, _checked(job_id), state=_state(status), limit=limit, after=after
    )
    return _page([item_document(item) for item in page.items], page.next_cursor)


@router.get("/{id}/items/{number}", summary="Get an item of a job", response_model=JobItemResponse)
async def get_job_item(
    job_id: JobId, number: ItemNumber, service: ServiceDependency, caller: JobsCallerDependency
) -> Response:
    """Gives the item's state, and why it failed where it did."""
    item = await service.jobs.queue.get_item(caller.name, _checked(job_id), number)
    return JSONResponse(item_document(item))


@router.get(
    "/{id}/items/{number}/result",
    summary="Get the transcription of an item",
    response_class=Response,
    responses=RESULT_RESPONSES,
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
    """Gives an item's transcription, in any form; 409 while there is none."""
    jobs = service.jobs
    job = await _find(jobs.queue, caller, job_id)
    form = _form(job, response_format, request.headers.get("accept"))
    item = await jobs.queue.get_item(caller.name, job.job_id, number)
    _require_success(item)
    content = await _result(jobs, item, form)
    headers = {
        "Content-Disposition": content_disposition(
            item.name, form, otherwise=f"transcription-{number:06d}"
        )
    }
    return Response(content, media_type=form.media_type, headers=headers)


@router.get(
    "/{id}/results.zip",
    summary="Download all results of a job",
    response_class=Response,
    responses=ARCHIVE_RESPONSES,
)
async def get_job_results(
    request: Request,
    job_id: JobId,
    service: ServiceDependency,
    caller: JobsCallerDependency,
    response_format: ResponseFormat = None,
) -> Response:
    """Gives all results as a zip, named after their inputs, with a list; 409 until the end."""
    service.refuse_while_draining()
    jobs = service.jobs
    job = await _find(jobs.queue, caller, job_id)
    form = _form(job, response_format, None)
    if not job.state.is_final:
        raise JobConflictError(
            f"the job is {job.state.value}; its results are there together once it has ended"
        )

    async def content_of(item: Item) -> bytes:
        return await _result(jobs, item, form)

    headers = {"Content-Disposition": f'attachment; filename="{job.job_id}.zip"'}
    if is_head(request):  # the archive is written while it is sent, and nothing will be
        return head_of_stream("application/zip", headers)
    archive = write_archive(_all_items(jobs.queue, caller, job.job_id), form, content_of)
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
    watches: JobStreamsDependency,
    last_event_id: Annotated[
        str | None, Header(description="Id of the last event seen; from the first when absent.")
    ] = None,
) -> Response:
    """Streams what has happened to the job, and what happens until its end, as events."""
    service.refuse_while_draining()
    cursor = parse_event_cursor(last_event_id)
    job = await _find(service.jobs.queue, caller, job_id)
    if job.state.is_final and cursor.state is job.state:
        return Response(status_code=204)  # which also tells a browser not to come back
    if is_head(request):
        return head_of_stream(EVENTS_TYPE, EVENT_STREAM_HEADERS)
    return watches.response(service.jobs.queue, job, cursor, upload_owner(request, caller))


def job_accepted(job: Job, headers: dict[str, str] | None = None) -> Response:
    """Answers that a job was taken, and where it is."""
    return JSONResponse(
        job_document(job),
        status_code=202,
        headers={"Location": job_path(job.job_id), **(headers or {})},
    )


def _page(data: list[dict[str, Any]], next_cursor: str | None) -> Response:
    return JSONResponse({"object": "list", "data": data, "next_cursor": next_cursor})


def _state(name: str | None) -> JobState | None:
    return None if name is None else JobState(name)


def _checked(job_id: str) -> str:
    if not is_job_id(job_id):
        raise JobNotFoundError("there is no such job; expected an id that POST /v1/jobs gave")
    return job_id


async def _find(queue: JobQueue, caller: Caller, job_id: str) -> Job:
    return await queue.get(caller.name, _checked(job_id))


def _form(job: Job, named: str | None, accept: str | None) -> ExportFormat:
    """Choose the format of a result: the one named, else the one accepted, else the job's own."""
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
        f"item {item.number} is {item.state.value}{why}; only one that succeeded has a result"
    )


async def _result(jobs: RunningJobs, item: Item, form: ExportFormat) -> bytes:
    record = await jobs.objects.get(item.result_key)
    return await asyncio.to_thread(
        lambda: export(
            from_record(record),
            form,
            transcription_id=f"tr_{item.job_id.removeprefix('job_')}_{item.number}",
            created=int(item.ended_at or item.created_at),
        )
    )


async def _all_items(queue: JobQueue, caller: Caller, job_id: str) -> AsyncIterator[Item]:
    after: str | None = None
    while True:
        page = await queue.list_items(caller.name, job_id, limit=_PAGE_OF_ARCHIVE, after=after)
        for item in page.items:
            yield item
        after = page.next_cursor
        if after is None:
            return


async def _closing(pieces: AsyncGenerator[bytes]) -> AsyncGenerator[bytes]:
    async with contextlib.aclosing(pieces):
        async for piece in pieces:
            yield piece
