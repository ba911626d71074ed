"""The header `Accept` -> the format of the answer (RFC 9110, 12.5.1)."""

from mt3_model.export.formats import ExportFormat
from service.errors import NotAcceptableError
from service.numbers import parse_decimal
from service.schemas.option_reading import shown

ACCEPTED_TYPES = {
    "application/json": ExportFormat.JSON,
    "audio/midi": ExportFormat.MIDI,
    "audio/mid": ExportFormat.MIDI,
    "audio/x-midi": ExportFormat.MIDI,
    "application/x-protobuf": ExportFormat.NOTESEQUENCE,
    "application/protobuf": ExportFormat.NOTESEQUENCE,
    "image/png": ExportFormat.PIANO_ROLL,
    "image/svg+xml": ExportFormat.PIANO_ROLL_SVG,
    "application/x-ndjson": ExportFormat.JSONL,
    "application/jsonl": ExportFormat.JSONL,
    "application/vnd.recordare.musicxml+xml": ExportFormat.MUSICXML,
    "application/pdf": ExportFormat.SCORE_PDF,
}
"""Media types of `Accept`, the preferred first. `notesequence_json` has the media type of JSON, so
only `response_format` can request it."""
STREAM_TYPES = ("text/event-stream", "application/json")
"""Media types of `Accept` that allow a stream, as does the absence of the header. None of them
requests a stream: only the option `stream` does, so that the request itself shows which of two very
different answers the client wants."""


def choose_format(accept: str | None) -> ExportFormat:
    """Choose the format with the highest quality in `Accept`, and the first of equals.

    Raises:
        NotAcceptableError: the header allows none of the formats.
    """
    if accept is None or not accept.strip():
        return ExportFormat.JSON
    qualities = _parse_accept(accept)
    best = max(ACCEPTED_TYPES, key=lambda offered: _quality(offered, qualities))
    if _quality(best, qualities) <= 0:
        raise NotAcceptableError(
            f"Accept is {shown(accept)}; available are {', '.join(ACCEPTED_TYPES)}"
            " (or name a format with response_format, or set stream=true for events)"
        )
    return ACCEPTED_TYPES[best]


def allows_stream(accept: str | None) -> bool:
    """Return whether a stream of server-sent events may be the answer."""
    if accept is None or not accept.strip():
        return True
    qualities = _parse_accept(accept)
    return any(_quality(offered, qualities) > 0 for offered in STREAM_TYPES)


def _parse_accept(accept: str) -> dict[str, float]:
    """Return the media ranges with their qualities; a quality that is not a number counts as 0."""
    qualities: dict[str, float] = {}
    for item in accept.split(","):
        media_range, *parameters = (part.strip().lower() for part in item.split(";"))
        quality = 1.0
        for parameter in parameters:
            key, _, value = parameter.partition("=")
            if key.strip() == "q":
                quality = parse_decimal(value.strip()) or 0.0
        qualities[media_range] = quality
    return qualities


def _quality(offered: str, qualities: dict[str, float]) -> float:
    """Return the quality of a media type: that of the most specific range that covers it."""
    main_type = offered.partition("/")[0]
    for media_range in (offered, f"{main_type}/*", "*/*"):
        if media_range in qualities:
            return qualities[media_range]
    return 0.0
