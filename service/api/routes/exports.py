"""`POST /v1/exports`: write a transcription in another format, without transcribing again."""

import codecs
import dataclasses
import functools
from collections.abc import Mapping
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request, Response
from pydantic import ValidationError

from mt3_model.errors import OptionError
from mt3_model.export.formats import ExportFormat, export
from mt3_model.export.transcription_reading import from_json_document
from mt3_model.rhythm.estimation import add_musical_time
from service.api.accept import choose_format
from service.api.dependencies import (
    CallerDependency,
    ConcurrencyLimiterDependency,
    ExportQueueDependency,
    UploadReceiverDependency,
    refuse_unknown_query,
)
from service.api.export_queue import RETRY_AFTER_SECONDS
from service.api.problems import PROBLEMS, problem_responses
from service.api.uploads.file_names import content_disposition
from service.api.warning_headers import WARNING_HEADERS, warning_headers
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
_Option = Annotated[
    str | None,
    Query(description="As for `POST /v1/transcriptions`; by default as in the transcription."),
]
MAX_DOCUMENT_BYTES = 32 * 2**20
"""A note takes about 270 bytes as the server writes it: room for a hundred thousand."""
_BODY: dict[str, Any] = {
    "required": True,
    "description": "A transcription, as `POST /v1/transcriptions` returns it.",
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
            "description": "The transcription in the requested format.",
            "headers": WARNING_HEADERS,
            "content": {
                form.media_type: {"schema": {"type": "string", "format": "binary"}}
                for form in ExportFormat
            },
        },
        **_PROBLEMS,
    },
    openapi_extra={"requestBody": _BODY},
    dependencies=[Depends(refuse_unknown_query)],
)
async def create_export(
    *,
    request: Request,
    caller: CallerDependency,
    uploads: UploadReceiverDependency,
    limiter: ConcurrencyLimiterDependency,
    exports: ExportQueueDependency,
    response_format: Annotated[
        str | None, Query(description="Format of the answer; without it, the one `Accept` prefers.")
    ] = None,
    title: Annotated[
        str | None,
        Query(description="Title of a score or MIDI file, and the file's name."),
    ] = None,
    tempo: _Option = None,
    time_signature: _Option = None,
    first_downbeat: _Option = None,
    quantize: _Option = None,
) -> Response:
    """Write a transcription in another format, without the recording.

    The body is the JSON of a transcription. Its notes may have been edited: some left out, moved,
    given to another program, or given another `instrument_name` (the same for all notes of a
    program). Beats and bars are estimated again from the notes. Nothing is stored.

        curl --data-binary @song.mp3 $MT3_SERVER/v1/transcriptions > song.json
        curl --json @song.json "$MT3_SERVER/v1/exports?response_format=midi&title=Song" -o song.mid
    """
    rhythm = {
        "tempo": tempo,
        "time_signature": time_signature,
        "first_downbeat": first_downbeat,
        "quantize": quantize,
    }
    requested = read_options([("response_format", response_format), *rhythm.items()])
    form = requested.response_format or choose_format(request.headers.get("accept"))
    changed = {name: getattr(requested, name) for name, given in rhythm.items() if given}
    with limiter.acquire(caller, lambda _: RETRY_AFTER_SECONDS):
        body = await uploads.receive_document(
            request, caller, max_bytes=MAX_DOCUMENT_BYTES, expected="the JSON of a transcription"
        )
        exported = await exports.run(
            functools.partial(_export, body, form, changed, title), document_bytes=len(body)
        )
    # A title has no suffix to leave out, even if there is a point in it.
    name = f"{title}.{form.value}" if title and title.strip() else None
    headers = {
        "Content-Disposition": content_disposition(name, form, otherwise="transcription"),
        **exported.warning_headers,
    }
    return Response(exported.content, media_type=form.media_type, headers=headers)


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class _Exported:
    """A transcription in the requested format."""

    content: bytes
    warning_headers: Mapping[str, str]


def _export(
    body: bytes, form: ExportFormat, changed: Mapping[str, Any], title: str | None
) -> _Exported:
    try:
        # Windows' PowerShell begins its files with the mark.
        document = TranscriptionResponse.model_validate_json(body.removeprefix(codecs.BOM_UTF8))
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False, include_context=False)[0]
        place = ".".join(str(part) for part in first["loc"]) or "the body"
        raise OptionError(
            place, f"{place}: {first['msg']}; expected the JSON of a transcription"
        ) from error
    transcription = from_json_document(document.model_dump())
    options = dataclasses.replace(transcription.options, **changed)
    transcription = add_musical_time(dataclasses.replace(transcription, options=options))
    content = export(
        transcription,
        form,
        transcription_id=document.id,
        created=document.created,
        title=title,
    )
    return _Exported(content=content, warning_headers=warning_headers(transcription.warnings))
