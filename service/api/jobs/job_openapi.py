"""The parts of the contract of jobs that FastAPI cannot derive from a signature.

The route that submits a job reads its body as a stream, in one of two forms; results come in any
format of a transcription; and jobs have server-sent events.
"""

from typing import Any

from mt3_model.errors import OptionError
from mt3_model.export.formats import ExportFormat
from service.api.openapi_events import component_schemas, event_stream, schema_reference
from service.api.openapi_options import form_fields
from service.api.problems import PROBLEMS, problem_responses
from service.api.server_sent_events import MEDIA_TYPE as EVENTS_TYPE
from service.api.warning_headers import WARNING_HEADERS
from service.errors import (
    AuthenticationError,
    IdempotencyError,
    JobConflictError,
    JobNotFoundError,
    JobsDisabledError,
    JobsUnavailableError,
    ModelNotFoundError,
    NotAcceptableError,
    OverloadedError,
    QuotaError,
    ScopeError,
    StorageFullError,
    StorageNotFoundError,
    StorageUnavailableError,
    UnsupportedMediaTypeError,
    UploadAbortedError,
    UploadEmptyError,
    UploadMalformedError,
    UploadStorageError,
    UploadTimeoutError,
    UploadTooLargeError,
)
from service.schemas.job_event import JOB_EVENTS
from service.schemas.job_request import (
    JOB_REQUEST_EXAMPLE,
    JobForm,
    JobRequest,
    job_option_properties,
)
from service.schemas.job_response import JOB_EXAMPLE, JobResponse
from service.schemas.option_reading import model_properties
from service.schemas.transcription_response import NoteSequenceResponse, TranscriptionResponse
from service.schemas.webhook_payload import WebhookPayload

Responses = dict[int | str, dict[str, Any]]
RECORDING_TYPE = "application/octet-stream"
"""Media type of every recording, so that a browser never shows what a caller uploaded."""
_BINARY = {"schema": {"type": "string", "format": "binary"}}
JOB_SCHEMAS = component_schemas([*JOB_EVENTS, WebhookPayload, JobRequest])
"""Schemas of the events, the webhook and the JSON body, for the components of the contract."""
JOB_WEBHOOKS: dict[str, Any] = {
    "jobEnded": {
        "post": {
            "summary": "A job has ended",
            "description": (
                "Sent to the URL of the job's webhook, signed with its secret. It counts as"
                " delivered if the receiver answers 2xx within ten seconds; `MT3-Delivery` is the"
                " same at every attempt."
            ),
            "parameters": [
                {
                    "name": name, "in": "header", "required": True, "schema": {"type": "string"},
                    "description": text,
                }
                for name, text in (
                    ("MT3-Delivery", "Id of the event."),
                    ("MT3-Signature", "`t=<seconds since 1970>,v1=<hex HMAC-SHA256 of t.body>`."),
                )
            ],
            "requestBody": {
                "required": True,
                "content": {"application/json": {"schema": schema_reference(WebhookPayload)}},
            },
            "responses": {"2XX": {"description": "The event is accepted."}},
        }
    }
}  # fmt: skip
"""The section `webhooks` of the contract."""
_COMMON = (
    AuthenticationError, ScopeError, JobsDisabledError, JobNotFoundError, OptionError,
    JobsUnavailableError, StorageUnavailableError, StorageFullError,
)  # fmt: skip


def _problems(*kinds: type[Exception]) -> Responses:
    return problem_responses(*(PROBLEMS[kind] for kind in (*_COMMON, *kinds)))


JOB_PROBLEMS = _problems(JobConflictError)
JOB_BODY: dict[str, Any] = {
    "required": True,
    "description": "A form with one or many recordings, or JSON that names recordings to fetch.",
    "content": {
        "multipart/form-data": {
            "schema": {
                "type": "object",
                "required": ["file"],
                "additionalProperties": False,
                "properties": {
                    "file": {
                        "type": "array",
                        "items": {"type": "string", "format": "binary"},
                        "description": "A part for each recording.",
                    },
                    **form_fields(job_option_properties()),
                    **form_fields(model_properties(JobForm)),
                },
            }
        },
        "application/json": {
            "schema": schema_reference(JobRequest),
            "example": JOB_REQUEST_EXAMPLE,
        },
    },
}  # fmt: skip
ACCEPTED_RESPONSE: dict[str, Any] = {
    "model": JobResponse,
    "description": "The job is accepted.",
    "headers": {"Location": {"schema": {"type": "string"}, "description": "Path of the job."}},
    "content": {"application/json": {"example": JOB_EXAMPLE}},
}
SUBMISSION_RESPONSES: Responses = {
    202: ACCEPTED_RESPONSE,
    **_problems(
        IdempotencyError, ModelNotFoundError, OverloadedError, QuotaError, StorageFullError,
        UnsupportedMediaTypeError, UploadAbortedError, UploadEmptyError, UploadMalformedError,
        UploadStorageError, UploadTimeoutError, UploadTooLargeError,
    ),
}  # fmt: skip
RESULT_RESPONSES: Responses = {
    200: {
        "model": TranscriptionResponse | NoteSequenceResponse,
        "description": "The transcription.",
        "headers": WARNING_HEADERS,
        "content": {
            form.media_type: _BINARY
            for form in ExportFormat
            if form is not ExportFormat.JSON and form is not ExportFormat.NOTESEQUENCE_JSON
        },
    },
    **_problems(JobConflictError, NotAcceptableError, StorageNotFoundError),
}
RECORDING_RESPONSES: Responses = {
    200: {
        "description": "The recording as it was uploaded.",
        "content": {RECORDING_TYPE: _BINARY},
    },
    **_problems(StorageNotFoundError),
}
ARCHIVE_RESPONSES: Responses = {
    200: {
        "description": "A file for each succeeded item, and `items.jsonl` with a line for each"
        " item.",
        "content": {"application/zip": _BINARY},
    },
    **_problems(JobConflictError),
}
EVENTS_RESPONSES: Responses = {
    200: {
        "description": "The events after the last one seen.",
        "content": {
            EVENTS_TYPE: event_stream(
                JOB_EVENTS,
                id_description="Value of `Last-Event-ID`.",
                example=(
                    "retry: 1000\n\n"
                    "event: job.status\n"
                    'data: {"type": "job.status", "status": "processing",'
                    ' "at": "2026-11-21T07:30:00.210Z"}\n'
                    "id: p-0-0\n\n"
                ),
            )
        },
    },
    204: {"description": "There are no more events: the job has ended with that one."},
    **_problems(QuotaError),
}
