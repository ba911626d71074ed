"""The options and headers of a request -> the requested transcription and form of answer.

`service/schemas/option_reading.py` reads the options. This module adds what depends on the server
and on the headers: the model that is served, and the format of the answer.

Options may come in the query, in the form, or some in each. Each may be given only once in both
together, because it would be unclear which of two values is meant.
"""

import dataclasses
from collections.abc import Iterable

from mt3_model.errors import OptionError
from mt3_model.export.formats import ExportFormat
from mt3_model.notes.transcription import TranscriptionOptions
from service.api.accept import STREAM_TYPES, allows_stream, choose_format
from service.errors import ModelNotFoundError
from service.schemas.option_reading import read_options, shown
from service.schemas.transcription_options import RequestedOptions


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class TranscriptionRequest:
    """A transcription that a client requests."""

    options: TranscriptionOptions
    response_format: ExportFormat
    """The format of the answer; of a stream, JSON."""
    stream: bool
    """Answer with server-sent events."""
    is_format_named: bool
    """The client named the format with `response_format`."""


def parse_request(
    given: Iterable[tuple[str, object]], *, accept: str | None, served_model: str
) -> TranscriptionRequest:
    """Read the options of a transcription.

    Args:
        given: names and values as sent, of the query and the form together.
        accept: the header `Accept`, which is used if `response_format` is absent.
        served_model: the model that this server has.

    Raises:
        OptionError: a name or value is not known, or an option is given twice.
        ModelNotFoundError: the client asks for another model.
        NotAcceptableError: `Accept` allows none of our formats.
    """
    requested = read_options(given)
    return TranscriptionRequest(
        options=library_options(requested, served_model),
        response_format=_choose_format(requested, accept),
        stream=requested.stream,
        is_format_named=requested.response_format is not None,
    )


def library_options(requested: RequestedOptions, served_model: str) -> TranscriptionOptions:
    """Return the options in the form that the library takes.

    Raises:
        ModelNotFoundError: the client asks for another model.
    """
    if requested.model not in (None, served_model):
        raise ModelNotFoundError(
            f"model is {shown(requested.model)}; this server serves {served_model!r}"
        )
    return requested.to_library(served_model)


def _choose_format(requested: RequestedOptions, accept: str | None) -> ExportFormat:
    named = requested.response_format
    if not requested.stream:
        return choose_format(accept) if named is None else named
    if named not in (None, ExportFormat.JSON):
        raise OptionError(
            "stream",
            f"stream=true can only be used with response_format=json, not {named.value}; leave out"
            " one of the two",
        )
    if not allows_stream(accept):
        raise OptionError(
            "stream",
            f"stream=true answers with {STREAM_TYPES[0]}, but Accept is {shown(accept)};"
            f" expected {' or '.join(STREAM_TYPES)} in it, or no stream",
        )
    return ExportFormat.JSON
