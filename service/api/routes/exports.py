"""`POST /v1/exports`: write a transcription in another format, without transcribing again."""

import asyncio
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response
from pydantic import ValidationError

from mt3_model.errors import OptionError
from mt3_model.export.formats import ExportFormat, export
from mt3_model.export.transcription_reading import from_json_document
from service.api.accept import choose_format
from service.api.dependencies import CallerDependency, UploadReceiverDependency
from service.api.problems import PROBLEMS, problem_responses
from service.api.uploads.file_names import content_disposition
from service.errors import (
    AuthenticationError,
    NotAcceptableError,
    OverloadedError,
    QuotaError,
    ScopeError,
    UploadAbortedError,
    UploadEmptyError,
    UploadTimeoutError,
    UploadTooLargeError,
)
from service.schemas.option_reading import read_options
from service.schemas.transcription_response import TranscriptionResponse

router = APIRouter(prefix="/v1", tags=["transcriptions"])
MAX_DOCUMENT_BYTES = 32 * 2**20
"""A note takes about 270 bytes as the server writes it: room for a hundred thousand."""
_BODY: dict[str, Any] = {
    "required": True,
    "description": "A transcription as `POST /v1/transcriptions` answers with it.",
    "content": {
        "application/json": {"schema": {"$ref": "#/components/schemas/TranscriptionResponse"}}
    },
}
_PROBLEMS = problem_responses(
    *(
        PROBLEMS[kind]
        for kind in (
            AuthenticationError, ScopeError, OptionError, NotAcceptableError, OverloadedError,
            QuotaError, UploadAbortedError, UploadEmptyError, UploadTimeoutError,
            UploadTooLargeError,
        )
    )
)  # fmt: skip


@router.post(
    "/exports",
    summary="Write a transcription in another format",
    response_class=Response,
    responses={
        200: {
            "description": "The transcription in the format asked for.",
            "content": {
                form.media_type: {"schema": {"type": "string", "format": "binary"}}
                for form in ExportFormat
            },
        },
        **_PROBLEMS,
    },
    openapi_extra={"requestBody": _BODY},
)
async def create_export(
    request: Request,
    caller: CallerDependency,
    uploads: UploadReceiverDependency,
    response_format: Annotated[
        str | None, Query(description="Format of the answer; without it, the one `Accept` prefers.")
    ] = None,
) -> Response:
    """Write a transcription in another format, at once and without the recording.

    The body is the JSON of a transcription. Its notes may have been edited: some left out, moved,
    or given to another program. Nothing is kept.

        curl --data-binary @song.mp3 $MT3_SERVER/v1/transcriptions > song.json
        curl --json @song.json "$MT3_SERVER/v1/exports?response_format=midi" -o song.mid
    """
    requested = read_options([("response_format", response_format)]).response_format
    form = requested or choose_format(request.headers.get("accept"))
    body = await uploads.receive_document(
        request, caller, max_bytes=MAX_DOCUMENT_BYTES, expected="the JSON of a transcription"
    )
    content = await asyncio.to_thread(_export, body, form)
    headers = {"Content-Disposition": content_disposition(None, form, otherwise="transcription")}
    return Response(content, media_type=form.media_type, headers=headers)


def _export(body: bytes, form: ExportFormat) -> bytes:
    try:
        document = TranscriptionResponse.model_validate_json(body)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False, include_context=False)[0]
        place = ".".join(str(part) for part in first["loc"]) or "the body"
        raise OptionError(
            place, f"{place}: {first['msg']}; expected the JSON of a transcription"
        ) from error
    return export(
        from_json_document(document.model_dump()),
        form,
        transcription_id=document.id,
        created=document.created,
    )
