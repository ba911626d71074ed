"""Options from a query, a form or JSON are read into one model, whose fields give the messages."""

from typing import Annotated, Literal

import pytest
from pydantic import BaseModel, Field, field_validator

from mt3_model.errors import OptionError
from mt3_model.notes.transcription import TranscriptionOptions
from service.schemas.option_reading import read_model, read_options
from service.schemas.schema import DECIMAL
from service.schemas.transcription_options import JobOptions, RequestedOptions, UsedOptions


class Options(BaseModel):
    """Options of every kind."""

    tempo: Annotated[float, Field(ge=20, le=400), DECIMAL] | None = Field(
        default=None, examples=[120], json_schema_extra={"x-unit": "beats per minute"}
    )
    instruments: list[Literal["drums", "piano", "bass"]] | None = None
    voices: list[str] | None = None

    @field_validator("voices")
    @classmethod
    def _are_two(cls, voices):
        if voices is not None and len(voices) != 2:
            raise ValueError("expected two voices")
        return voices


def refusal(model, *given):
    with pytest.raises(OptionError) as caught:
        read_model(model, given)
    return caught.value.parameter, str(caught.value)


def test_text_and_json_give_the_same_options():
    as_text = {"start": "1.5", "end": "3", "audio_track": "2", "response_format": "midi"}
    as_json = {"start": 1.5, "end": 3, "audio_track": 2, "response_format": "midi"}
    assert read_options(as_text.items()) == read_options(as_json.items())


@pytest.mark.parametrize("absent", [None, ""])
def test_a_value_that_is_left_empty_is_absent(absent):
    assert read_options([("start", absent), ("start", "2")]).start == 2.0


@pytest.mark.parametrize("value", [True, [1], {"a": 1}, "1e1", "inf"])
def test_what_is_no_number_in_json_is_refused(value):
    name, message = refusal(RequestedOptions, ("start", value))
    assert name == "start"
    assert "expected seconds as a decimal number such as 90 or 1.5, 0 to 1,000,000" in message


def test_a_list_is_an_option_that_may_be_repeated():
    repeated = [("instruments", "drums"), ("instruments", "bass")]
    assert read_model(Options, repeated).instruments == ["drums", "bass"]
    assert read_model(Options, [("instruments", ["drums", "bass"])]) == read_model(
        Options, repeated
    )


def test_a_refusal_says_what_was_found_and_what_the_field_allows():
    assert refusal(Options, ("tempo", "9")) == (
        "tempo",
        "tempo is '9'; expected beats per minute as a decimal number such as 120, 20 to 400",
    )
    assert refusal(Options, ("instruments", "drums"), ("instruments", "lute")) == (
        "instruments",
        'instruments is ["drums", "lute"]; expected a list of: drums, piano or bass',
    )
    assert refusal(Options, ("voices", "one")) == (
        "voices",
        'voices is ["one"]; expected two voices',
    )


def test_answers_have_the_options_that_can_be_asked_for():
    asked = set(RequestedOptions.model_fields) - {"response_format", "stream"}
    assert asked == set(JobOptions.model_fields) == set(UsedOptions.model_fields)
    assert asked == set(TranscriptionOptions.__dataclass_fields__)


def test_the_librarys_defaults_are_those_of_the_api():
    assert read_options([]).to_library("mt3") == TranscriptionOptions(model="mt3")


@pytest.mark.parametrize(
    "given",
    [
        [("instruments", "piano, 33"), ("instruments", "drums")],
        [("instruments", ["piano", 33, "drums"])],
        [("instruments", ["piano,33,drums", "piano"])],
    ],
)
def test_instruments_are_names_and_numbers_in_text_or_json(given):
    options = read_options(given)
    assert options.instruments == ["piano", "33", "drums"]
    assert options.to_library("mt3").instruments == ("piano", "33", "drums")


@pytest.mark.parametrize("value", [["piano", True], [None], 1.5, {"a": 1}, "kazoo", [128], ","])
def test_what_is_no_instrument_is_refused_with_what_was_expected(value):
    name, message = refusal(RequestedOptions, ("instruments", value))
    assert name == "instruments"
    assert "General MIDI program numbers (0 to 127)" in message


@pytest.mark.parametrize("names", [(), ("piano", "drums")])
def test_the_options_of_the_library_are_those_of_a_job(names):
    options = TranscriptionOptions(instruments=names)
    read = JobOptions.model_validate(options, from_attributes=True)
    assert tuple(read.instruments) == names


def test_the_refusal_of_a_list_names_the_unknown_instrument():
    _, message = refusal(RequestedOptions, ("instruments", "piano,violn,drums"))
    assert "'violn' is unknown" in message
    assert "did you mean Violin" in message


def test_too_many_instruments_are_counted():
    names = ",".join([*map(str, range(128)), *(f"00{i}" for i in range(99))])
    _, message = refusal(RequestedOptions, ("instruments", names))
    assert "...; 227 names; expected 1 to 200" in message


@pytest.mark.parametrize(
    ("number", "text"),
    [(120, "120"), (90.0, "90"), (1e2, "100"), (96.5, "96.5"), (123.4567891, "123.456789")],
)
def test_a_tempo_in_json_may_be_a_number(number, text):
    assert read_options([("tempo", number)]).tempo == text


@pytest.mark.parametrize("value", [10**400, 1e300, -5, True, [120], {"bpm": 120}])
def test_what_is_no_tempo_in_json_is_refused_with_what_was_expected(value):
    name, message = refusal(RequestedOptions, ("tempo", value))
    assert name == "tempo"
    assert "expected beats per minute from 20 to 400, or half or double" in message


def test_a_refused_clean_up_says_which_name_is_at_fault():
    name, message = refusal(RequestedOptions, ("postprocess", "none,ties"))
    assert name == "postprocess"
    assert message.startswith(
        "postprocess is 'none,ties'; none cannot be combined with other names; expected default,"
    )
    assert refusal(RequestedOptions, ("postprocess", 3))[1].startswith(
        "postprocess is 3; expected default, none, or some of ties,"
    )
