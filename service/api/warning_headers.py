"""The response headers that carry a transcription's warnings, in every format of the result.

MIDI files, scores and pictures hold no warnings, so responses have them in two headers: the codes
alone, for scripts, and the warnings themselves as JSON. Proxies refuse responses whose headers are
too long (nginx from 4 KiB on), so each header is bounded; warnings that do not fit are left out.
"""

import json
import re
from collections.abc import Iterable, Iterator
from typing import Any

from mt3_model.export.transcription_json import to_json_warning
from mt3_model.notes.transcription import TranscriptionWarning

CODES_HEADER = "Transcription-Warnings"
DETAILS_HEADER = "Transcription-Warning-Details"
MAX_HEADER_CHARACTERS = 1_536
"""Longest value of one of the headers: about ten warnings with their messages."""
WARNING_HEADERS: dict[str, Any] = {
    CODES_HEADER: {
        "schema": {"type": "string"},
        "description": (
            "Codes of the transcription's warnings, separated by commas; absent without warnings,"
            " and from a stream."
        ),
        "example": "tempo_uncertain, meter_uncertain",
    },
    DETAILS_HEADER: {
        "schema": {"type": "string"},
        "description": (
            "The same warnings as a JSON array in ASCII, as `warnings` of the JSON document has"
            f" them; those beyond {MAX_HEADER_CHARACTERS:,} characters are left out."
        ),
    },
}
"""The headers in the contract of a response."""
_SEPARATOR = ", "
_CODE = re.compile(r"[a-z0-9_]{1,64}")
"""A code that is safe in a header. Those of a transcription that a caller sends may be any text."""


def warning_headers(warnings: Iterable[TranscriptionWarning]) -> dict[str, str]:
    """Return the headers for a transcription's warnings; none without warnings."""
    sent = [warning for warning in warnings if _CODE.fullmatch(warning.code)]
    codes = _fitting(dict.fromkeys(warning.code for warning in sent))
    # ASCII only: a header has no other encoding that all clients agree on.
    details = _fitting(json.dumps(to_json_warning(warning)) for warning in sent)
    values = {
        CODES_HEADER: _SEPARATOR.join(codes),
        DETAILS_HEADER: f"[{body}]" if (body := _SEPARATOR.join(details)) else "",
    }
    return {name: value for name, value in values.items() if value}


def _fitting(parts: Iterable[str]) -> Iterator[str]:
    """Yield parts as long as they fit into a header, joined by separators and in brackets."""
    left = MAX_HEADER_CHARACTERS - len("[]")
    for part in parts:
        left -= len(part) + len(_SEPARATOR)
        if left < 0:
            return
        yield part
