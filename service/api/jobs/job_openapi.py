"""The parts of the published contract of jobs that FastAPI cannot read off a signature.

The submission reads its body as a stream, in one of two forms; results come in any form of a
transcription; events are events. Beside `openapi_parts.py`, by the same rules.
"""

from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from mt3_model.errors import OptionError
from mt3_model.export.formats import ExportFormat
from service.api.jobs.job_events import JOB_EVENT_NAMES
from service.api.openapi_options import form_fields
from service.api.problems import PROBLEMS, problem_responses
from service.api.server_sent_events import MEDIA_TYPE as EVENTS_TYPE
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
from service.schemas.job_event import (
    ItemCompletedEvent,
    ItemFailedEvent,
    JobCompletedEvent,
    JobProgressEvent,
    JobStatusEvent,
)
from service.schemas.job_request import JobForm, JobRequest, job_option_properties
from service.schemas.job_response import JobResponse
from service.schemas.option_reading import model_properties
from service.schemas.transcription_response import NoteSequenceResponse, TranscriptionResponse

Responses = dict[int | str, dict[str, Any]]
_BINARY = {"schema": {"type": "string", "format": "binary"}}
_REFERENCE = "#/components/schemas/{model}"
_EVENTS: tuple[type[BaseModel], ...] = (
    JobStatusEvent, JobProgressEvent, ItemCompletedEvent, ItemFailedEvent, JobCompletedEvent,
)  # fmt: skip
JOB_SCHEMAS: dict[str, Any] = models_json_schema(
    [(shape, "validation") for shape in (*_EVENTS, JobRequest)], ref_template=_REFERENCE
)[1]["$defs"]
"""The events' shapes and the JSON body's, for the contract's components."""
_COMMON = (
    AuthenticationError, ScopeError, JobsDisabledError, JobNotFoundError, OptionError,
    JobsUnavailableError, StorageUnavailableError, StorageFullError,
)  # fmt: skip


def _problems(*kinds: type[Exception]) -> Responses:
    return problem_responses(*(PROBLEMS[kind] for kind in (*_COMMON, *kinds)))


JOB_PROBLEMS = _problems(JobConflictError)
_EXAMPLE: dict[str, Any] = {
    "id": "job_5186d10e93f9f0325186d10e",
    "object": "job",
    "status": "processing",
    "model": "mt3",
    "options": {
        "model": "mt3", "decoding": "greedy", "precision": "auto", "start": 0.0, "end": None,
        "audio_track": None,
    },
    "response_format": "midi",
    "created_at": "2026-11-21T07:30:00.000Z",
    "processing_at": "2026-11-21T07:30:00.210Z",
    "ended_at": None,
    "expires_at": "2026-11-28T07:30:00.000Z",
    "progress": {
        "items_total": 2, "items_done": 1, "items_succeeded": 1, "items_failed": 0,
        "items_canceled": 0, "audio_seconds_total": None, "audio_seconds_done": 27.15,
    },
    "queue_position": None,
    "error": None,
    "warnings": [],
    "metadata": {"album": "first"},
    "webhook": None,
    "links": {
        "self": "/v1/jobs/job_5186d10e93f9f0325186d10e",
        "items": "/v1/jobs/job_5186d10e93f9f0325186d10e/items",
        "results": "/v1/jobs/job_5186d10e93f9f0325186d10e/results.zip",
        "events": "/v1/jobs/job_5186d10e93f9f0325186d10e/events",
    },
}  # fmt: skip
JOB_BODY: dict[str, Any] = {
    "required": True,
    "description": "A form with one or many recordings, or JSON that names some to be fetched.",
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
            "schema": {"$ref": _REFERENCE.format(model=JobRequest.__name__)},
            "example": {
                "inputs": [{"url": "https://example.org/song.mp3"}],
                "options": {"response_format": "midi", "end": 60},
                "metadata": {"album": "first"},
            },
        },
    },
}  # fmt: skip
ACCEPTED_RESPONSE: dict[str, Any] = {
    "model": JobResponse,
    "description": "Accepted: the job.",
    "headers": {"Location": {"schema": {"type": "string"}, "description": "Of the job."}},
    "content": {"application/json": {"example": _EXAMPLE}},
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
        "content": {
            form.media_type: _BINARY
            for form in ExportFormat
            if form is not ExportFormat.JSON and form is not ExportFormat.NOTESEQUENCE_JSON
        },
    },
    **_problems(JobConflictError, NotAcceptableError, StorageNotFoundError),
}
ARCHIVE_RESPONSES: Responses = {
    200: {
        "description": "A file for each item that succeeded; items.jsonl, a line for each item.",
        "content": {"application/zip": _BINARY},
    },
    **_problems(JobConflictError),
}
EVENTS_RESPONSES: Responses = {
    200: {
        "description": "What follows that event.",
        "content": {
            EVENTS_TYPE: {
                "itemSchema": {
                    "type": "object",
                    "required": ["id", "event", "data"],
                    "properties": {
                        "id": {"type": "string", "description": "For Last-Event-ID."},
                        "event": {"type": "string", "enum": list(JOB_EVENT_NAMES)},
                        "data": {
                            "type": "string",
                            "contentMediaType": "application/json",
                            "contentSchema": {
                                "oneOf": [
                                    {"$ref": _REFERENCE.format(model=event.__name__)}
                                    for event in _EVENTS
                                ]
                            },
                        },
                    },
                },
                "example": (
                    "retry: 1000\n\n"
                    "event: job.status\n"
                    'data: {"type": "job.status", "status": "processing",'
                    ' "at": "2026-11-21T07:30:00.210Z"}\n'
                    "id: p-0-0\n\n"
                ),
            }
        },
    },
    204: {"description": "Nothing will follow: the job has ended with that event."},
    **_problems(QuotaError),
}
