"""The parts of the contract of transcriptions that FastAPI cannot derive from a signature.

The route of transcriptions reads its body as a stream and its options from the query or the form,
and answers with events on request. This module describes them, from the models that read and write
them.
"""

from typing import Any

from mt3_model.errors import OptionError
from mt3_model.export.formats import ExportFormat
from service.api.openapi_events import component_schemas, event_stream
from service.api.openapi_options import form_fields
from service.api.problems import PROBLEMS, problem_responses
from service.api.server_sent_events import MEDIA_TYPE as EVENTS_TYPE
from service.api.warning_headers import WARNING_HEADERS
from service.errors import AuthenticationError, ScopeError, StreamNotFoundError
from service.schemas.job_response import JobResponse
from service.schemas.option_reading import model_properties
from service.schemas.transcription_event import TRANSCRIPTION_EVENTS
from service.schemas.transcription_options import RequestedOptions
from service.schemas.transcription_response import NoteSequenceResponse, TranscriptionResponse

_BINARY = {"schema": {"type": "string", "format": "binary"}}

TRANSCRIPTION_BODY: dict[str, Any] = {
    "required": True,
    "description": "A form with the recording and the options, or the recording itself.",
    "content": {
        "multipart/form-data": {
            "schema": {
                "type": "object",
                "required": ["file"],
                "additionalProperties": False,
                "properties": {
                    "file": {"type": "string", "format": "binary"},
                    **form_fields(model_properties(RequestedOptions)),
                },
            }
        },
        "application/octet-stream": _BINARY,
        "audio/*": _BINARY,
    },
}


EVENT_SCHEMAS = component_schemas(TRANSCRIPTION_EVENTS)
"""Schemas of the events, for the components of the contract."""
_EVENT_STREAM = event_stream(
    TRANSCRIPTION_EVENTS,
    id_description="1, 2, 3...: value of `Last-Event-ID`.",
    example=(
        "retry: 1000\n\n"
        "event: segment\n"
        'data: {"type": "segment", "index": 0, "start": 0.0, "end": 2.048, "note_count": 1}\n'
        "id: 2\n\n"
        "event: note\n"
        'data: {"type": "note", "start_time": 0.21, "end_time": 0.63, "pitch": 59,'
        ' "velocity": 127, "program": 33, "is_drum": false, "track": 0,'
        ' "instrument_name": "Electric Bass (finger)", "drum_name": null, "confidence": 0.9977}\n'
        "id: 3\n\n"
    ),
)

TRANSCRIPTION_RESPONSES: dict[int | str, dict[str, Any]] = {
    200: {
        "model": TranscriptionResponse | NoteSequenceResponse,
        "description": "The transcription, as a whole or, with `stream=true`, as events.",
        "headers": {
            "Location": {
                "schema": {"type": "string"},
                "description": "Path where a stream can be resumed.",
            },
            "Content-Disposition": {
                "schema": {"type": "string"},
                "description": (
                    "The result's file name, derived from the upload's (RFC 6266); inline for JSON"
                    " documents, attachment for other formats."
                ),
            },
            **WARNING_HEADERS,
        },
        "content": {
            **{
                form.media_type: _BINARY
                for form in ExportFormat
                if form is not ExportFormat.JSON and form is not ExportFormat.NOTESEQUENCE_JSON
            },
            EVENTS_TYPE: _EVENT_STREAM,
        },
    },
    202: {
        "model": JobResponse,
        "description": "The request became a job; `Location` is its path.",
        "headers": {
            "Location": {"schema": {"type": "string"}, "description": "Path of the job."},
            "Preference-Applied": {
                "schema": {"type": "string"},
                "description": "`respond-async`, if the client requested that.",
            },
        },
    },
    **problem_responses(*PROBLEMS.values()),
}

EVENTS_RESPONSES: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "The events after the last one seen.",
        "content": {EVENTS_TYPE: _EVENT_STREAM},
    },
    204: {"description": "There are no more events: the stream has ended with that one."},
    **problem_responses(
        PROBLEMS[AuthenticationError],
        PROBLEMS[ScopeError],
        PROBLEMS[StreamNotFoundError],
        PROBLEMS[OptionError],
    ),
}
