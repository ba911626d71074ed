"""The parts of the published contract that FastAPI cannot read off a signature.

The transcription route takes its body as a stream and its options from query or form alike, so
their description is written here, from the same tables that the parsing uses.
"""

from typing import Any, get_args

from mt3_model.export.formats import ExportFormat
from mt3_model.notes.transcription import Decoding, PrecisionChoice
from service.api.options import MAX_TIME_SECONDS, OPTION_NAMES
from service.api.problems import PROBLEMS, problem_responses
from service.api.schemas import TranscriptionShape

_TIME = {"type": "number", "minimum": 0, "maximum": MAX_TIME_SECONDS}
_OPTIONS: dict[str, tuple[dict[str, Any], str]] = {
    "model": ({"type": "string"}, "A model of /v1/models; the served one when absent."),
    "response_format": (
        {"type": "string", "enum": [form.value for form in ExportFormat]},
        "Form of the answer; when absent, what Accept prefers, else json.",
    ),
    "decoding": (
        {"type": "string", "enum": list(get_args(Decoding)), "default": "greedy"},
        "Rule for the next token: greedy, or the original's one-beam search.",
    ),
    "precision": (
        {"type": "string", "enum": list(get_args(PrecisionChoice)), "default": "auto"},
        "Of the network's products: auto, or exactly the one that the server was started with.",
    ),
    "start": ({**_TIME, "default": 0}, "Transcribe from here, seconds into the recording."),
    "end": (_TIME, "Up to here, seconds into the recording; to its end when absent."),
}
assert tuple(_OPTIONS) == OPTION_NAMES

_BINARY = {"schema": {"type": "string", "format": "binary"}}

TRANSCRIPTION_BODY: dict[str, Any] = {
    "required": True,
    "description": "The recording itself, or a form with it and the options.",
    "content": {
        "audio/*": _BINARY,
        "application/octet-stream": _BINARY,
        "multipart/form-data": {
            "schema": {
                "type": "object",
                "required": ["file"],
                "additionalProperties": False,
                "properties": {
                    "file": {"type": "string", "format": "binary"},
                    **{
                        name: {**schema, "description": text}
                        for name, (schema, text) in _OPTIONS.items()
                    },
                },
            }
        },
    },
}


def option_parameters() -> list[dict[str, Any]]:
    """The options as query parameters."""
    return [
        {"name": name, "in": "query", "required": False, "schema": schema, "description": text}
        for name, (schema, text) in _OPTIONS.items()
    ]


TRANSCRIPTION_RESPONSES: dict[int | str, dict[str, Any]] = {
    200: {
        "model": TranscriptionShape,
        "description": "The transcription.",
        "content": {
            form.media_type: _BINARY
            for form in ExportFormat
            if form is not ExportFormat.JSON and form is not ExportFormat.NOTESEQUENCE_JSON
        },
    },
    **problem_responses(*PROBLEMS.values()),
}
