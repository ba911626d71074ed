"""`POST /v1/transcriptions`: a recording in, its transcription out, in one request."""

import asyncio
import time
import uuid
from collections.abc import Coroutine
from typing import Any, TypeVar

from fastapi import APIRouter, Request, Response

from mt3_model.export.formats import ExportFormat, export
from service.api.dependencies import ServiceDependency, UploadLimitsDependency
from service.api.openapi_parts import TRANSCRIPTION_BODY, TRANSCRIPTION_RESPONSES, option_parameters
from service.api.options import parse_request
from service.api.uploads import receive_upload
from service.errors import UploadAbortedError

router = APIRouter(prefix="/v1", tags=["transcriptions"])
T = TypeVar("T")


@router.post(
    "/transcriptions",
    response_class=Response,
    responses=TRANSCRIPTION_RESPONSES,
    openapi_extra={"requestBody": TRANSCRIPTION_BODY, "parameters": option_parameters()},
)
async def create_transcription(
    request: Request, service: ServiceDependency, limits: UploadLimitsDependency
) -> Response:
    """Transcribes a recording sent as the body itself or as the part `file` of a form.

    Everything that can be refused is refused before the recording is received.
    """
    transcriber = service.transcriber
    accept = request.headers.get("accept")
    query = list(request.query_params.multi_items())
    parse_request(query, accept=accept, served_model=service.spec.name)
    transcriber.require_capacity()
    began = time.perf_counter()
    async with receive_upload(request, limits) as upload:
        asked = parse_request(
            [*query, *upload.fields], accept=accept, served_model=service.spec.name
        )
        received = time.perf_counter()
        transcription = await _while_connected(
            request, transcriber.transcribe(upload.path, asked.options)
        )
    transcribed = time.perf_counter()
    transcription_id = f"tr_{uuid.uuid4().hex}"
    content = await asyncio.to_thread(
        export,
        transcription,
        asked.response_format,
        transcription_id=transcription_id,
        created=int(time.time()),
    )
    exported = time.perf_counter()
    headers = {
        "Server-Timing": _server_timing(
            upload=received - began,
            queue=transcription.usage.queue_seconds,
            transcription=transcribed - received,
            export=exported - transcribed,
        )
    }
    form = asked.response_format
    if form is not ExportFormat.JSON:
        headers["Content-Disposition"] = f'attachment; filename="transcription{form.suffix}"'
    return Response(content, headers=headers, media_type=form.media_type)


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
