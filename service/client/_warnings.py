"""Read a transcription's warnings from the headers of a response."""

import json
from collections.abc import Callable, Iterator, Mapping

from service.client._errors import UnexpectedAnswerError
from service.client._json import read_document
from service.client._models import TranscriptionWarning

_CODES, _DETAILS = "Transcription-Warnings", "Transcription-Warning-Details"


def report_warnings(
    headers: Mapping[str, str], on_warning: Callable[[TranscriptionWarning], object] | None
) -> None:
    """Call ``on_warning`` with each warning in the headers of a result."""
    if on_warning is not None:
        for warning in read_warnings(headers):
            on_warning(warning)


def read_warnings(headers: Mapping[str, str]) -> tuple[TranscriptionWarning, ...]:
    """Return the warnings in the headers of a result.

    The server leaves out details that would make its headers too long, and earlier servers send the
    codes alone: the message of such a warning is its code.
    """
    detailed = tuple(_read_details(headers.get(_DETAILS, "[]")))
    found = {warning.code for warning in detailed}
    codes = dict.fromkeys(code.strip() for code in headers.get(_CODES, "").split(","))
    bare = [code for code in codes if code and code not in found]
    return (*detailed, *(TranscriptionWarning(code=code, message=code) for code in bare))


def _read_details(text: str) -> Iterator[TranscriptionWarning]:
    """Yield the warnings of the details; none of a header that another program has changed."""
    try:
        documents: object = json.loads(text)
    except ValueError:
        return
    for document in documents if isinstance(documents, list) else ():
        try:
            yield read_document(TranscriptionWarning, document, where=_DETAILS)
        except UnexpectedAnswerError:
            continue
