"""`POST /v1/transcriptions`: transcribe a recording within one request.

The steps, in order: parse the options in the head, receive the recording, then either run and
export, stream events, or submit a job. `GET /v1/transcriptions/{id}/events` resumes a stream whose
connection was lost.
"""

import asyncio
import contextlib
import dataclasses
import functools
import time
import uuid
from collections.abc import Coroutine
from typing import Annotated, Any, TypeVar

from fastapi import APIRouter, Header, Path, Request, Response

from mt3_model.errors import OptionError
from mt3_model.export.formats import export
from service.api.dependencies import (
    CallerDependency,
    ConcurrencyLimiterDependency,
    JobSubmitterDependency,
    ServiceDependency,
    StreamRegistryDependency,
    UploadReceiverDependency,
)
from service.api.jobs.job_fallback import JobFallback
from service.api.openapi_options import option_parameters
from service.api.request_normalization import head_of_stream, is_head
from service.api.server_sent_events import EVENT_STREAM_HEADERS, StreamIdentity
from service.api.server_sent_events import MEDIA_TYPE as EVENTS_TYPE
from service.api.stream_registry import EventStreamResponse, StreamRegistry
from service.api.transcription_openapi import (
    EVENTS_RESPONSES,
    TRANSCRIPTION_BODY,
    TRANSCRIPTION_RESPONSES,
)
from service.api.transcription_request import TranscriptionRequest, parse_request
from service.api.transcription_stream import log_transcription
from service.api.uploads.file_names import content_disposition, safe_stem
from service.api.uploads.upload_receiver import MULTIPART, Upload, UploadReceiver
from service.api.warning_headers import warning_headers
from service.auth.caller import Caller
from service.errors import UploadAbortedError
from service.lifecycle import Service
from service.observability.tracing import span
from service.recordings.work import Written
from service.transcriber import Transcriber

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
    limiter: ConcurrencyLimiterDependency,
    streams: StreamRegistryDependency,
    submitter: JobSubmitterDependency,
    prefer: Annotated[
        str | None, Header(description="`respond-async`: answer immediately with a job (202).")
    ] = None,
) -> Response:
    """Transcribe a recording sent as the body itself or as the part `file` of a form.

    If possible, invalid requests are refused before the recording is received. The recording
    becomes a job (202) if `Prefer: respond-async` requests it, if the server has no model of its
    own, or if the recording is too long for the server to transcribe in one request.

        curl -F file=@song.mp3 -F end=10 $MT3_SERVER/v1/transcriptions
        curl --data-binary @song.mp3 "$MT3_SERVER/v1/transcriptions?response_format=midi" -OJ
        curl -N --data-binary @song.mp3 "$MT3_SERVER/v1/transcriptions?stream=true"
    """
    asked = _parse_head(request, service)
    fallback = JobFallback(request, caller, service, submitter, prefer=prefer)
    if fallback.is_preferred or not service.has_model:
        fallback.check(asked)
        async with uploads.receive(request, caller) as upload:
            return await fallback.submit(upload, _parse_all(request, upload, service))
    transcriber = service.transcriber
    transcriber.opener.require_capacity(caller)
    async with contextlib.AsyncExitStack() as resources:
        resources.enter_context(
            limiter.acquire(caller, transcriber.admissions.retry_after_next_end)
        )
        received = await _receive(request, service, caller, uploads, resources)
        if received.asked.stream:
            return await _stream(
                request, received, caller, transcriber, streams=streams, resources=resources
            )
        written = await _run(request, received, caller, service)
        if written is None:
            return await fallback.submit(received.upload, received.asked)
    return _answer(received, written)


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
        str, Path(alias="id", description="Id of the transcription, as in its first event.")
    ],
    service: ServiceDependency,
    caller: CallerDependency,
    streams: StreamRegistryDependency,
    last_event_id: Annotated[
        str | None, Header(description="Number of the last event seen; by default from the first.")
    ] = None,
) -> Response:
    """Resume a stream of `POST /v1/transcriptions?stream=true` after a given event.

    A stream can be resumed by its own caller, while it runs and for some time after its end.
    """
    stream = streams.find(transcription_id, caller)
    after = _parse_event_id(last_event_id, stream.last_id)
    if stream.is_ended and after == stream.last_id:
        service.metrics.stream_resumes.inc()
        return Response(status_code=204)  # a browser then does not reconnect
    if is_head(request):
        return head_of_stream(EVENTS_TYPE, EVENT_STREAM_HEADERS)
    service.metrics.stream_resumes.inc()
    return EventStreamResponse(stream, after=after)


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class _Received:
    """A recording on disk and what is asked of it."""

    upload: Upload
    asked: TranscriptionRequest
    upload_seconds: float
    received_at: float
    """`time.perf_counter` when the last byte was written."""


def _parse_head(request: Request, service: Service) -> TranscriptionRequest:
    """Parse the options of the query, to refuse bad ones before the body is read."""
    # A form may hold the option that takes precedence over Accept.
    is_form = request.headers.get("content-type", "").lower().startswith(MULTIPART)
    return parse_request(
        list(request.query_params.multi_items()),
        accept=None if is_form else request.headers.get("accept"),
        served_model=service.spec.name,
    )


def _parse_all(request: Request, upload: Upload, service: Service) -> TranscriptionRequest:
    """Parse the options of query and form together."""
    return parse_request(
        [*request.query_params.multi_items(), *upload.fields],
        accept=request.headers.get("accept"),
        served_model=service.spec.name,
    )


async def _receive(
    request: Request,
    service: Service,
    caller: Caller,
    uploads: UploadReceiver,
    resources: contextlib.AsyncExitStack,
) -> _Received:
    """Receive the recording; ``resources`` removes its file."""
    began = time.perf_counter()
    with span("upload"):
        upload = await resources.enter_async_context(uploads.receive(request, caller))
    asked = _parse_all(request, upload, service)
    now = time.perf_counter()
    return _Received(upload=upload, asked=asked, upload_seconds=now - began, received_at=now)


async def _stream(
    request: Request,
    received: _Received,
    caller: Caller,
    transcriber: Transcriber,
    *,
    streams: StreamRegistry,
    resources: contextlib.AsyncExitStack,
) -> Response:
    """Start a stream, which takes over ``resources``, and answer with its events."""
    options = received.asked.options
    identity = StreamIdentity(
        transcription_id=_new_id(),
        created=int(time.time()),
        model=transcriber.model,
        options=dataclasses.replace(options, precision=transcriber.model.precision),
    )
    events = transcriber.stream(received.upload.path, options, caller)
    stream = await _while_connected(request, streams.start(events, identity, caller, resources))
    opened = time.perf_counter() - received.received_at
    headers = {
        "Server-Timing": _server_timing(upload=received.upload_seconds, open=opened),
        "Location": f"{router.prefix}/transcriptions/{identity.transcription_id}/events",
    }
    return EventStreamResponse(stream, headers=headers)


async def _run(
    request: Request, received: _Received, caller: Caller, service: Service
) -> Written | None:
    """Transcribe the recording; None if it is longer than ``max_sync_audio_seconds``."""
    work = service.transcriber.write(
        received.upload.path,
        received.asked.options,
        caller,
        write=functools.partial(
            export,
            export_format=received.asked.response_format,
            transcription_id=_new_id(),
            created=int(time.time()),
            title=safe_stem(received.upload.name),
        ),
        max_seconds=service.max_sync_audio_seconds,
    )
    return await _while_connected(request, work)


def _answer(received: _Received, written: Written) -> Response:
    """Answer with the transcription in the requested format."""
    form = received.asked.response_format
    log_transcription(written.usage, notes=written.notes, form=form.value)
    headers = {
        "Server-Timing": _server_timing(
            upload=received.upload_seconds,
            queue=written.usage.queue_seconds,
            transcription=time.perf_counter() - received.received_at - written.write_seconds,
            export=written.write_seconds,
        ),
        "Content-Disposition": content_disposition(
            received.upload.name, form, otherwise="transcription"
        ),
        **warning_headers(written.warnings),
    }
    return Response(written.content, headers=headers, media_type=form.media_type)


def _new_id() -> str:
    return f"tr_{uuid.uuid4().hex}"


def _parse_event_id(text: str | None, last_id: int) -> int:
    if text is None:
        return 0
    # Compared by length first: Python refuses to parse thousands of digits.
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
    """Await the work; cancel it if the client disconnects first.

    The body must have been read completely, so that the connection's next message is the
    disconnect.

    Raises:
        UploadAbortedError: The client disconnected.
    """
    working = asyncio.create_task(work)
    watching = asyncio.ensure_future(request.receive())
    try:
        await asyncio.wait({working, watching}, return_when=asyncio.FIRST_COMPLETED)
        if not working.done():
            raise UploadAbortedError("the client disconnected before the answer")
        return working.result()
    finally:
        working.cancel()
        watching.cancel()
        # The canceled work closes its recording before the recording's file is removed.
        await asyncio.wait({working, watching})


def _server_timing(**seconds: float) -> str:
    return ", ".join(f"{name};dur={1_000 * value:.1f}" for name, value in seconds.items())
