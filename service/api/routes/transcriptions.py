"""`POST /v1/transcriptions`: a recording in, its transcription out, in one request.

In one piece, or as server-sent events, which `GET /v1/transcriptions/{id}/events` takes up again
where a connection was lost.
"""

import asyncio
import contextlib
import dataclasses
import time
import uuid
from collections.abc import Coroutine
from typing import Annotated, Any, TypeVar

from fastapi import APIRouter, Header, Path, Request, Response

from mt3_model.errors import OptionError
from mt3_model.export.formats import ExportFormat, export
from service.api.dependencies import (
    CallerDependency,
    ConcurrencyLimiterDependency,
    JobSubmitterDependency,
    ServiceDependency,
    StreamRegistryDependency,
    UploadReceiverDependency,
)
from service.api.jobs.job_submitter import JobSubmitter
from service.api.openapi_options import option_parameters
from service.api.request_normalization import head_of_stream, is_head
from service.api.routes.jobs import job_accepted
from service.api.server_sent_events import EVENT_STREAM_HEADERS, StreamIdentity
from service.api.server_sent_events import MEDIA_TYPE as EVENTS_TYPE
from service.api.stream_registry import EventStreamResponse
from service.api.transcription_openapi import (
    EVENTS_RESPONSES,
    TRANSCRIPTION_BODY,
    TRANSCRIPTION_RESPONSES,
)
from service.api.transcription_request import TranscriptionRequest, parse_request
from service.api.transcription_stream import log_transcription
from service.api.uploads.file_names import attachment
from service.api.uploads.upload_receiver import MULTIPART, Upload
from service.assembly import Service
from service.auth.caller import Caller, Scope
from service.errors import ScopeError, UploadAbortedError
from service.observability.tracing import span
from service.transcriber import LongRecordingError

router = APIRouter(prefix="/v1", tags=["transcriptions"])
_SHOWN_CHARACTERS = 100
T = TypeVar("T")


@router.post(
    "/transcriptions",
    summary="Transcribe a recording",
    response_class=Response,
    responses=TRANSCRIPTION_RESPONSES,
    openapi_extra={"requestBody": TRANSCRIPTION_BODY, "parameters": option_parameters()},
)
async def create_transcription(
    request: Request,
    *,
    service: ServiceDependency,
    caller: CallerDependency,
    uploads: UploadReceiverDependency,
    places: ConcurrencyLimiterDependency,
    streams: StreamRegistryDependency,
    submission: JobSubmitterDependency,
    prefer: Annotated[
        str | None, Header(description="`respond-async`: answer at once, with a job (202).")
    ] = None,
) -> Response:
    """Transcribes a recording sent as the body itself or as the part `file` of a form.

    Everything that can be refused is refused before the recording is received. It becomes a job
    (202) where `Prefer: respond-async` asks for one, where the server has no model of its own, and
    where it is longer than what the deployment transcribes in one request.

        curl -F file=@song.mp3 -F end=10 $MT3_SERVER/v1/transcriptions
        curl --data-binary @song.mp3 "$MT3_SERVER/v1/transcriptions?response_format=midi" -OJ
        curl -N --data-binary @song.mp3 "$MT3_SERVER/v1/transcriptions?stream=true"
    """
    wants_job = _prefers_async(prefer)
    becomes_job = wants_job or not service.has_model
    accept = request.headers.get("accept")
    query = list(request.query_params.multi_items())
    # A form may hold the option that makes Accept right.
    is_form = request.headers.get("content-type", "").lower().startswith(MULTIPART)
    asked = parse_request(query, accept=None if is_form else accept, served_model=service.spec.name)
    later = _JobFallback(request, caller, service, submission, prefers=wants_job)
    if becomes_job:
        later.require_possible(asked)
        async with uploads.receive(request, caller) as upload:
            asked = parse_request(
                [*query, *upload.fields], accept=accept, served_model=service.spec.name
            )
            later.require_possible(asked)
            return await later.submit(upload, asked)
    transcriber = service.transcriber
    transcriber.require_capacity(caller)
    began = time.perf_counter()
    async with contextlib.AsyncExitStack() as held:
        held.enter_context(places.acquire(caller, transcriber.seconds_to_next_end))
        with span("upload"):
            upload = await held.enter_async_context(uploads.receive(request, caller))
        asked = parse_request(
            [*query, *upload.fields], accept=accept, served_model=service.spec.name
        )
        received = time.perf_counter()
        if asked.stream:
            identity = StreamIdentity(
                transcription_id=_new_id(),
                created=int(time.time()),
                model=transcriber.model,
                options=dataclasses.replace(asked.options, precision=transcriber.model.precision),
            )
            events = transcriber.stream(upload.path, asked.options, caller)
            stream = await _while_connected(request, streams.begin(events, identity, caller, held))
            opened = time.perf_counter()
            timing = _server_timing(upload=received - began, open=opened - received)
            location = f"{router.prefix}/transcriptions/{identity.transcription_id}/events"
            return EventStreamResponse(
                stream, headers={"Server-Timing": timing, "Location": location}
            )
        try:
            transcription = await _while_connected(
                request,
                transcriber.transcribe(
                    upload.path,
                    asked.options,
                    caller,
                    at_most_seconds=service.max_sync_audio_seconds,
                ),
            )
        except LongRecordingError:
            later.require_possible(asked)
            return await later.submit(upload, asked)
    transcribed = time.perf_counter()
    form = asked.response_format
    log_transcription(transcription, form.value)
    with span("export", form=form.value):
        content = await asyncio.to_thread(
            export, transcription, form, transcription_id=_new_id(), created=int(time.time())
        )
    headers = {
        "Server-Timing": _server_timing(
            upload=received - began,
            queue=transcription.usage.queue_seconds,
            transcription=transcribed - received,
            export=time.perf_counter() - transcribed,
        )
    }
    if form is not ExportFormat.JSON:
        headers["Content-Disposition"] = attachment(
            upload.name, form.suffix, otherwise="transcription"
        )
    return Response(content, headers=headers, media_type=form.media_type)


@router.get(
    "/transcriptions/{id}/events",
    summary="Resume the events of a transcription",
    response_class=Response,
    responses=EVENTS_RESPONSES,
)
async def resume_transcription_events(
    *,
    request: Request,
    transcription_id: Annotated[
        str, Path(alias="id", description="Id of the transcription, in its first event.")
    ],
    service: ServiceDependency,
    caller: CallerDependency,
    streams: StreamRegistryDependency,
    last_event_id: Annotated[
        str | None, Header(description="Number of the last event seen; from the first when absent.")
    ] = None,
) -> Response:
    """Continues a stream of `POST /v1/transcriptions?stream=true` after the event named.

    Possible while it goes on and for some time after its end, for its own caller.
    """
    stream = streams.find(transcription_id, caller)
    after = _parse_event_id(last_event_id, stream.last_id)
    if stream.is_ended and after == stream.last_id:
        service.metrics.stream_resumes.inc()
        return Response(status_code=204)  # which also tells a browser not to come back
    if is_head(request):
        return head_of_stream(EVENTS_TYPE, EVENT_STREAM_HEADERS)
    service.metrics.stream_resumes.inc()
    return EventStreamResponse(stream, after=after)


class _JobFallback:
    """What is done with a recording that is not transcribed in its own request."""

    def __init__(
        self,
        request: Request,
        caller: Caller,
        service: Service,
        submission: JobSubmitter,
        *,
        prefers: bool,
    ) -> None:
        self._request = request
        self._caller = caller
        self._service = service
        self._submission = submission
        self._prefers = prefers

    def require_possible(self, asked: TranscriptionRequest) -> None:
        """Refuses where there can be no job, or the answer could not be one."""
        assert self._service.jobs, "or it is refused"
        if Scope.JOBS not in self._caller.scopes:
            raise ScopeError(
                "this recording becomes a job, which needs a key with the scope"
                f" {Scope.JOBS.value!r}"
            )
        if asked.stream:
            raise OptionError(
                "stream",
                "stream=true is for recordings transcribed in their own request; this one becomes"
                " a job, whose events are at /v1/jobs/{id}/events: leave out stream",
            )

    async def submit(self, upload: Upload, asked: TranscriptionRequest) -> Response:
        """Makes it a job."""
        form = asked.response_format
        is_chosen = asked.is_format_named or form is not ExportFormat.JSON
        submitted = await self._submission.submit_recording(
            self._request,
            self._caller,
            upload.path,
            name=upload.name,
            options=asked.options,
            response_format=form.value if is_chosen else None,
        )
        applied = {"Preference-Applied": "respond-async"} if self._prefers else {}
        return job_accepted(submitted.job, applied)


def _prefers_async(prefer: str | None) -> bool:
    """Whether a header ``Prefer`` (RFC 7240) holds ``respond-async``."""
    preferences = (prefer or "").lower().split(",")
    return any(p.partition(";")[0].strip() == "respond-async" for p in preferences)


def _new_id() -> str:
    return f"tr_{uuid.uuid4().hex}"


def _parse_event_id(text: str | None, last_id: int) -> int:
    if text is None:
        return 0
    # Compared by length first: Python refuses to read a number of thousands of digits.
    if text.isascii() and text.isdigit() and len(text) <= len(str(last_id)):
        number = int(text)
        if number <= last_id:
            return number
    raise OptionError(
        "Last-Event-ID",
        f"Last-Event-ID is {text[:_SHOWN_CHARACTERS]!r}; expected the number of an event of this"
        f" stream, 0 to {last_id}",
    )


async def _while_connected(request: Request, work: Coroutine[Any, Any, T]) -> T:
    """Awaits the work, and cancels it if the client goes away first.

    The body must have been read whole: the next message of the connection is then its end.
    """
    working = asyncio.create_task(work)
    watching = asyncio.ensure_future(request.receive())
    try:
        await asyncio.wait({working, watching}, return_when=asyncio.FIRST_COMPLETED)
        if not working.done():
            raise UploadAbortedError("the client went away before its answer")
        return working.result()
    finally:
        working.cancel()
        watching.cancel()
        # What was cancelled closes its recording before the recording's file is removed.
        await asyncio.wait({working, watching})


def _server_timing(**seconds: float) -> str:
    return ", ".join(f"{name};dur={1_000 * value:.1f}" for name, value in seconds.items())
