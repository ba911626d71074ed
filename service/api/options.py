"""Query parameters and form fields -> what the caller asks for.

Options may come in the query, in the form, or some in each; each at most once over both, because
of two different values neither can be right. An option without a value (``start=``) is absent:
programs send fields that were left empty. A name or value that is not known is refused with those
that are: an option misspelt and silently ignored would give a wrong answer.
"""

import dataclasses
from collections import Counter
from collections.abc import Sequence
from typing import get_args

from mt3_model.errors import OptionError
from mt3_model.export.formats import ExportFormat
from mt3_model.notes.transcription import Decoding, PrecisionChoice, TranscriptionOptions
from service.errors import ModelNotFoundError, NotAcceptableError
from service.numbers import parse_decimal, parse_integer

OPTION_NAMES = (
    "model",
    "response_format",
    "decoding",
    "precision",
    "start",
    "end",
    "audio_track",
    "stream",
)
MAX_TIME_SECONDS = 1e6
"""Of ``start`` and ``end``: eleven days, beyond any recording."""
MAX_AUDIO_TRACKS = 1_000
"""Highest number of an audio track that can be asked for; no container has as many."""
_SHOWN_CHARACTERS = 100

ACCEPTED_TYPES = {
    "application/json": ExportFormat.JSON,
    "audio/midi": ExportFormat.MIDI,
    "audio/mid": ExportFormat.MIDI,
    "audio/x-midi": ExportFormat.MIDI,
    "application/x-protobuf": ExportFormat.NOTESEQUENCE,
    "application/protobuf": ExportFormat.NOTESEQUENCE,
    "image/png": ExportFormat.PIANO_ROLL,
    "application/x-ndjson": ExportFormat.JSONL,
    "application/jsonl": ExportFormat.JSONL,
}
"""Media types of ``Accept``, the preferred first; JSON of the protobuf only by its name."""
STREAM_TYPES = ("text/event-stream", "application/json")
"""Media types of ``Accept`` under which a stream is sent, beside none at all. That they are named
does not make it one: only the option ``stream`` does, so that a client sees in its own request
which of two quite different answers it asked for."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class TranscriptionRequest:
    """What the caller asks for."""

    options: TranscriptionOptions
    response_format: ExportFormat
    stream: bool
    """As server-sent events; the form is then JSON's."""


def parse_request(
    pairs: Sequence[tuple[str, str]], *, accept: str | None, served_model: str
) -> TranscriptionRequest:
    """Reads a transcription's options.

    Args:
        pairs: Names and values as sent, from query and form together.
        accept: The ``Accept`` header, which counts where ``response_format`` is absent.
        served_model: The model this server has.

    Raises:
        OptionError: A name or value that is not known, or an option given twice.
        ModelNotFoundError: Another model.
        NotAcceptableError: ``Accept`` names nothing that can be written.
    """
    for name, _ in pairs:
        if name not in OPTION_NAMES:
            raise OptionError(
                name[:_SHOWN_CHARACTERS],
                f"there is no option {_shown(name)}; expected {', '.join(OPTION_NAMES)}",
            )
    given = without_empty(pairs)
    for name, count in Counter(name for name, _ in given).items():
        if count > 1:
            raise OptionError(name, f"{name} is given {count} times; expected once")
    values = dict(given)
    model = values.get("model", served_model)
    if model != served_model:
        raise ModelNotFoundError(f"model is {_shown(model)}; this server serves {served_model!r}")
    start = _parse_time("start", values["start"]) if "start" in values else 0.0
    end = _parse_time("end", values["end"]) if "end" in values else None
    stream = _parse_stream(values.get("stream", "false"))
    if end is not None and end <= start:
        raise OptionError("end", f"end is {end:g} s; expected more than start, {start:g} s")
    return TranscriptionRequest(
        options=TranscriptionOptions(
            model=model,
            decoding=_parse_decoding(values.get("decoding", "greedy")),
            precision=_parse_precision(values.get("precision", "auto")),
            start=start,
            end=end,
            audio_track=_parse_track(values["audio_track"]) if "audio_track" in values else None,
        ),
        response_format=_find_format(values.get("response_format"), accept, stream=stream),
        stream=stream,
    )


def without_empty(pairs: Sequence[tuple[str, str]]) -> list[tuple[str, str]]:
    """Leaves out options without a value."""
    return [(name, value) for name, value in pairs if value]


def _find_format(named: str | None, accept: str | None, *, stream: bool) -> ExportFormat:
    """The form of the answer; of a stream's, whose events are JSON, there is no choice."""
    form = None if named is None else parse_format(named)
    if not stream:
        return choose_format(accept) if form is None else form
    if form not in (None, ExportFormat.JSON):
        raise OptionError(
            "stream",
            f"stream=true goes with response_format=json alone, not {form.value}; leave out one of"
            " the two",
        )
    if accept is not None and accept.strip():
        qualities = _parse_accept(accept)
        if max(_quality(offered, qualities) for offered in STREAM_TYPES) <= 0:
            raise OptionError(
                "stream",
                f"stream=true answers with {STREAM_TYPES[0]}, and Accept is {_shown(accept)};"
                f" name {' or '.join(STREAM_TYPES)} there, or leave out stream",
            )
    return ExportFormat.JSON


def choose_format(accept: str | None) -> ExportFormat:
    """Chooses the form by an ``Accept`` header: highest quality first, then our order.

    Raises:
        NotAcceptableError: It allows none of ours.
    """
    if accept is None or not accept.strip():
        return ExportFormat.JSON
    qualities = _parse_accept(accept)
    best = max(ACCEPTED_TYPES, key=lambda offered: _quality(offered, qualities))
    if _quality(best, qualities) <= 0:
        raise NotAcceptableError(
            f"Accept is {_shown(accept)}; offered are {', '.join(ACCEPTED_TYPES)}"
            " (or name a form with response_format, or set stream=true for events)"
        )
    return ACCEPTED_TYPES[best]


def _shown(text: str) -> str:
    """What the caller sent, cut where it is longer than any value could be."""
    return repr(text if len(text) <= _SHOWN_CHARACTERS else f"{text[:_SHOWN_CHARACTERS]}...")


def _parse_decoding(text: str) -> Decoding:
    for allowed in get_args(Decoding):
        if text == allowed:
            return allowed
    raise OptionError(
        "decoding", f"decoding is {_shown(text)}; expected {' or '.join(get_args(Decoding))}"
    )


def _parse_precision(text: str) -> PrecisionChoice:
    for allowed in get_args(PrecisionChoice):
        if text == allowed:
            return allowed
    raise OptionError(
        "precision",
        f"precision is {_shown(text)}; expected {' or '.join(get_args(PrecisionChoice))}",
    )


def parse_format(text: str) -> ExportFormat:
    """Reads a form's name.

    Raises:
        OptionError: It is none.
    """
    try:
        return ExportFormat(text)
    except ValueError as error:
        allowed = ", ".join(form.value for form in ExportFormat)
        raise OptionError(
            "response_format", f"response_format is {_shown(text)}; expected one of {allowed}"
        ) from error


def _parse_stream(text: str) -> bool:
    match text:
        case "true":
            return True
        case "false":
            return False
        case _:
            raise OptionError("stream", f"stream is {_shown(text)}; expected true or false")


def _parse_time(name: str, text: str) -> float:
    seconds = parse_decimal(text)
    if seconds is None or seconds > MAX_TIME_SECONDS:
        raise OptionError(
            name,
            f"{name} is {_shown(text)}; expected seconds as a decimal number such as 90 or 1.5, 0"
            f" to {MAX_TIME_SECONDS:,.0f}",
        )
    return seconds


def _parse_track(text: str) -> int:
    number = parse_integer(text)
    if number is None or not 1 <= number <= MAX_AUDIO_TRACKS:
        raise OptionError(
            "audio_track",
            f"audio_track is {_shown(text)}; expected a whole number, 1 to {MAX_AUDIO_TRACKS:,}",
        )
    return number


def _parse_accept(accept: str) -> dict[str, float]:
    """Media ranges with their qualities; ranges that cannot be read are left out."""
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
    """Of a media type: the most specific range that covers it decides (RFC 9110, 12.5.1)."""
    main_type = offered.partition("/")[0]
    for media_range in (offered, f"{main_type}/*", "*/*"):
        if media_range in qualities:
            return qualities[media_range]
    return 0.0
