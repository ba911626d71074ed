"""The parts of the published contract that FastAPI cannot read off a signature.

The transcription route takes its body as a stream and its options from query or form alike, and
answers with events where it is asked to, so their description is written here, from the same
tables that the parsing uses.

Defaults are said in words and not as ``default``: programs made from the contract would send every
default twice, in the query and in the form, which is refused.
"""

from typing import Any, get_args

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from mt3_model.errors import OptionError
from mt3_model.export.formats import ExportFormat
from mt3_model.notes.transcription import Decoding, PrecisionChoice
from service.api.options import MAX_AUDIO_TRACKS, MAX_TIME_SECONDS, OPTION_NAMES
from service.api.problems import PROBLEMS, problem_responses
from service.api.server_sent_events import EVENT_NAMES
from service.api.server_sent_events import MEDIA_TYPE as EVENTS_TYPE
from service.errors import AuthenticationError, ScopeError, StreamNotFoundError
from service.schemas.job_response import JobResponse
from service.schemas.transcription_event import (
    CompletedEvent,
    ErrorEvent,
    NoteEvent,
    ProgressEvent,
    SegmentEvent,
    StartedEvent,
    WarningEvent,
)
from service.schemas.transcription_response import NoteSequenceResponse, TranscriptionResponse

_TIME = {"type": "number", "minimum": 0, "maximum": MAX_TIME_SECONDS}
OPTION_SCHEMAS: dict[str, tuple[dict[str, Any], str]] = {
    "model": ({"type": "string"}, "A model of /v1/models; the served one when absent."),
    "response_format": (
        {"type": "string", "enum": [form.value for form in ExportFormat]},
        "Form of the answer; when absent, what Accept prefers, else json.",
    ),
    "decoding": (
        {"type": "string", "enum": list(get_args(Decoding))},
        "Rule for the next token: greedy (when absent), or the original's one-beam search.",
    ),
    "precision": (
        {"type": "string", "enum": list(get_args(PrecisionChoice))},
        "Of the network's products: auto (when absent), or exactly the one the server has.",
    ),
    "start": (
        _TIME,
        "Transcribe from here, seconds into the recording; from its beginning when absent.",
    ),
    "end": (_TIME, "Up to here, seconds into the recording; to its end when absent."),
    "audio_track": (
        {"type": "integer", "minimum": 1, "maximum": MAX_AUDIO_TRACKS},
        "Audio track of a recording that has several, counted from 1; its default one when absent.",
    ),
    "stream": (
        {"type": "string", "enum": ["true", "false"]},
        "Answer with events, notes as they are found (true), or in one piece (false; when absent).",
    ),
}
assert tuple(OPTION_SCHEMAS) == OPTION_NAMES

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
                    **{
                        name: {**schema, "description": text}
                        for name, (schema, text) in OPTION_SCHEMAS.items()
                    },
                },
            }
        },
        "application/octet-stream": _BINARY,
        "audio/*": _BINARY,
    },
}


def option_parameters() -> list[dict[str, Any]]:
    """The options as query parameters."""
    return [
        {"name": name, "in": "query", "required": False, "schema": schema, "description": text}
        for name, (schema, text) in OPTION_SCHEMAS.items()
    ]


_EVENTS: tuple[type[BaseModel], ...] = (
    StartedEvent, SegmentEvent, NoteEvent, WarningEvent, ProgressEvent, CompletedEvent, ErrorEvent,
)  # fmt: skip
_REFERENCE = "#/components/schemas/{model}"
EVENT_SCHEMAS: dict[str, Any] = models_json_schema(
    [(event, "validation") for event in _EVENTS], ref_template=_REFERENCE
)[1]["$defs"]
"""The events' shapes, and those they hold, for the contract's components."""
_EVENT_STREAM: dict[str, Any] = {
    # As FastAPI writes the events of its own routes, after OpenAPI 3.2 (4.14.4).
    "itemSchema": {
        "type": "object",
        "required": ["id", "event", "data"],
        "properties": {
            "id": {"type": "string", "description": "1, 2, 3...: for Last-Event-ID."},
            "event": {"type": "string", "enum": list(EVENT_NAMES)},
            "data": {
                "type": "string",
                "contentMediaType": "application/json",
                "contentSchema": {
                    "oneOf": [{"$ref": _REFERENCE.format(model=e.__name__)} for e in _EVENTS]
                },
            },
        },
    },
    "example": (
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
}

TRANSCRIPTION_RESPONSES: dict[int | str, dict[str, Any]] = {
    200: {
        "model": TranscriptionResponse | NoteSequenceResponse,
        "description": "The transcription: whole, or with stream=true as it comes to be.",
        "headers": {
            "Location": {
                "schema": {"type": "string"},
                "description": "Of a stream: where it can be resumed.",
            }
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
        "description": "It became a job, which Location names.",
        "headers": {
            "Location": {"schema": {"type": "string"}, "description": "Of the job."},
            "Preference-Applied": {
                "schema": {"type": "string"},
                "description": "respond-async, where that was preferred.",
            },
        },
    },
    **problem_responses(*PROBLEMS.values()),
}

EVENTS_RESPONSES: dict[int | str, dict[str, Any]] = {
    200: {"description": "What follows that event.", "content": {EVENTS_TYPE: _EVENT_STREAM}},
    204: {"description": "Nothing will follow: the stream has ended with that event."},
    **problem_responses(
        PROBLEMS[AuthenticationError],
        PROBLEMS[ScopeError],
        PROBLEMS[StreamNotFoundError],
        PROBLEMS[OptionError],
    ),
}
