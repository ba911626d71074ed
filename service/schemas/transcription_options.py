"""The options of a transcription, defined once for the whole service.

`RequestedOptions` reads options from a query, a form or JSON and describes them in the published
contract; answers contain them as `UsedOptions` and `JobOptions`. README.md beside this file
explains how to add an option.
"""

import dataclasses
from collections.abc import Callable
from typing import Annotated, Any

from pydantic import (
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
    ValidatorFunctionWrapHandler,
    field_validator,
)
from pydantic.config import JsonDict

from mt3_model.errors import OptionError
from mt3_model.export.formats import ExportFormat
from mt3_model.notes import transcription
from mt3_model.notes.instruments_option import (
    EXPECTED_INSTRUMENTS,
    MAX_INSTRUMENTS,
    describe_expected,
    find_unknown,
    split_names,
)
from mt3_model.notes.postprocess_option import explain_postprocess_fault, parse_postprocess
from mt3_model.notes.rhythm_options import (
    EXPECTED_TEMPO,
    EXPECTED_TIME_SIGNATURE,
    Quantize,
    parse_tempo,
    parse_time_signature,
)
from mt3_model.notes.transcription import Decoding, Precision, PrecisionChoice, Quality
from service.schemas.schema import DECIMAL, DIGITS, PlainBoolean, Schema

MAX_TIME_SECONDS = 1e6
"""Largest `start` and `end`: eleven days, longer than any recording."""
MAX_AUDIO_TRACKS = 1_000
"""Highest number of an audio track; no container has as many."""
_TimeInRecording = Annotated[float, Field(ge=0, le=MAX_TIME_SECONDS), DECIMAL]
_SECONDS: JsonDict = {"x-unit": "seconds"}
"""Names the unit in the message of a refusal."""
_SHOWN_CHARACTERS = 100
_TEMPO_DECIMALS = 6


def _read_instruments(value: object) -> object:
    """Split names at commas and check them; a number in JSON stands for a program."""
    # A tuple in the library's options, a list in JSON.
    values: list[Any] = [*value] if isinstance(value, list | tuple) else [value]
    if any(isinstance(each, bool) or not isinstance(each, str | int) for each in values):
        raise ValueError(f"expected {EXPECTED_INSTRUMENTS}")
    names = split_names(map(str, values))
    if len(names) > MAX_INSTRUMENTS or (values and not names):
        raise ValueError(
            f"{len(names)} names; expected 1 to {MAX_INSTRUMENTS}: {EXPECTED_INSTRUMENTS}"
        )
    unknown = find_unknown(names)
    if unknown is not None:
        found = f"{unknown[:_SHOWN_CHARACTERS]!r} is unknown; " if len(names) > 1 else ""
        raise ValueError(found + describe_expected(unknown))
    return list(names)


_TEXT_CHECKS: dict[str, tuple[Callable[[str], object], Callable[[object], str]]] = {
    "tempo": (parse_tempo, lambda _: f"expected {EXPECTED_TEMPO}"),
    "time_signature": (parse_time_signature, lambda _: f"expected {EXPECTED_TIME_SIGNATURE}"),
    "postprocess": (parse_postprocess, explain_postprocess_fault),
}
"""Options that the library reads as text: the function that checks a value, and the one that says
what was expected instead."""


class TranscriptionOptions(Schema):
    """The options that change the notes.

    Each is a field of `mt3_model.notes.transcription.TranscriptionOptions` too.
    """

    model: str | None = Field(default=None, examples=["mt3"])
    """A model listed by `/v1/models`; by default the server's model."""
    decoding: Decoding = "greedy"
    """Rule for the next token: `greedy` (the default), or `reference`, the original's one-beam
    search."""
    precision: PrecisionChoice = "auto"
    """Precision of the network's matrix products: `auto` (the default), or exactly the one in which
    the server has loaded the model."""
    start: _TimeInRecording = Field(default=0.0, json_schema_extra=_SECONDS)
    """Transcribe from here, in seconds into the recording; without it, from the beginning."""
    end: _TimeInRecording | None = Field(default=None, json_schema_extra=_SECONDS)
    """Transcribe up to here, in seconds into the recording; without it, to the end."""
    audio_track: Annotated[int, Field(ge=1, le=MAX_AUDIO_TRACKS), DIGITS] | None = None
    """Audio track of a recording that has several, counted from 1; without it, the recording's
    default track."""
    postprocess: str = Field(default="default", examples=["none", "bass_octave,duplicates"])
    """Clean-up of the notes: `default`, `none` for exactly the model's notes, or some of the steps
    `ties`, `false_drums`, `bass_octave`, `part_octave`, `duplicates`, `ensemble`, `usual_programs`,
    `velocity`, `confidence`, separated by commas."""
    instruments: Annotated[list[str], BeforeValidator(_read_instruments)] = Field(
        default=[], examples=[["piano", "drums"]]
    )
    """Every instrument in the recording; notes are then assigned to no others. Each is a General
    MIDI program number (0 to 127), the name of a program or of a family as `/v1/instruments` lists
    them, or `drums`. May be repeated, and contain several names separated by commas; by default
    every instrument is possible."""
    quality: Quality = "standard"
    """`standard` (the default), or `high`: a second pass over the recording, so that no note is cut
    where two of the model's segments of 2 s meet. It doubles the work, and counts twice in the
    limits on waiting audio."""

    tempo: str | None = Field(default=None, examples=["96", "half"])
    """Tempo of the recording in beats per minute, counted in beats of the time signature (a dotted
    quarter in 6/8); or `half` or `double`, for half or twice the estimate. By default the tempo is
    estimated."""
    time_signature: str | None = Field(default=None, examples=["3/4", "6/8"])
    """Time signature of the recording; without it, it is estimated."""
    first_downbeat: _TimeInRecording | None = Field(default=None, json_schema_extra=_SECONDS)
    """The time of a downbeat, in seconds into the recording; without it, the downbeats are
    estimated."""
    quantize: Quantize = "none"
    """Grid of the notes in `midi`: `none` (the default), which keeps the times as played, on the
    recording's tempo map; or a note value (`t` for triplets), which puts onsets and ends on that
    grid at a constant tempo."""

    @field_validator("tempo", mode="before")
    @classmethod
    def _tempo_may_be_a_number(cls, tempo: Any) -> Any:
        if isinstance(tempo, int | float) and not isinstance(tempo, bool):
            return str(round(tempo, _TEMPO_DECIMALS)).removesuffix(".0")
        return tempo

    @field_validator(*_TEXT_CHECKS, mode="wrap")
    @classmethod
    def _text_is_known(
        cls, value: Any, read: ValidatorFunctionWrapHandler, info: ValidationInfo
    ) -> str | None:
        parse, explain = _TEXT_CHECKS[str(info.field_name)]
        try:
            text: str | None = read(value)
            if text is not None:
                parse(text)
        except (OptionError, ValidationError) as error:
            raise ValueError(explain(value)) from error
        return text

    @field_validator("end")
    @classmethod
    def _end_is_after_start(cls, end: float | None, info: ValidationInfo) -> float | None:
        start = info.data.get("start", 0.0)
        if end is not None and end <= start:
            raise ValueError(f"expected more than start, {start:g} s")
        return end


class RequestedOptions(TranscriptionOptions):
    """The options of a request: those of the notes, and those of the answer."""

    response_format: ExportFormat | None = None
    """Format of the answer; without it, the one that `Accept` prefers, else `json`."""
    stream: PlainBoolean = False
    """`true`: answer with server-sent events, each note as it is found. `false` (the default):
    answer with the whole transcription."""

    def to_library(self, served_model: str) -> transcription.TranscriptionOptions:
        """Return the options in the form that the library takes.

        Args:
            served_model: the model to use if the request names none.
        """
        names = {field.name for field in dataclasses.fields(transcription.TranscriptionOptions)}
        values = {name: _frozen(getattr(self, name)) for name in names}
        values["model"] = self.model or served_model
        return transcription.TranscriptionOptions(**values)


def _frozen(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def _require_all(schema: dict[str, Any]) -> None:
    """Describe options in an answer, where all of them are present, so none has a default."""
    for field in schema["properties"].values():
        for keyword in ("default", "examples", "x-unit"):
            field.pop(keyword, None)
    schema["required"] = list(schema["properties"])


class JobOptions(TranscriptionOptions):
    """The requested options."""

    model_config = ConfigDict(json_schema_extra=_require_all)

    model: str  # pyright: ignore[reportGeneralTypeIssues, reportIncompatibleVariableOverride]


class UsedOptions(TranscriptionOptions):
    """The options as used."""

    model_config = ConfigDict(json_schema_extra=_require_all)

    model: str  # pyright: ignore[reportGeneralTypeIssues, reportIncompatibleVariableOverride]
    precision: Precision  # pyright: ignore[reportGeneralTypeIssues, reportIncompatibleVariableOverride]
    """Precision of the network's matrix products."""


OPTION_NAMES = tuple(RequestedOptions.model_fields)
"""The options that a query, a form or JSON may name."""
