"""Options as callers send them give a request, or an error that says what to do."""

import pytest

from mt3_model.errors import OptionError
from mt3_model.export.formats import ExportFormat
from service.api.accept import choose_format
from service.api.transcription_request import parse_request
from service.errors import ModelNotFoundError, NotAcceptableError
from service.schemas.transcription_options import OPTION_NAMES


def parse(*pairs, accept=None):
    return parse_request(pairs, accept=accept, served_model="mt3")


def test_nothing_asked_for_means_the_defaults():
    asked = parse()
    assert asked.response_format is ExportFormat.JSON
    assert (asked.options.model, asked.options.decoding) == ("mt3", "greedy")
    assert (asked.options.start, asked.options.end) == (0.0, None)
    assert asked.options.audio_track is None


def test_every_option_is_taken():
    asked = parse(
        ("model", "mt3"),
        ("response_format", "midi"),
        ("decoding", "reference"),
        ("start", "1.5"),
        ("end", "3"),
        ("audio_track", "2"),
    )
    assert asked.response_format is ExportFormat.MIDI
    assert (asked.options.decoding, asked.options.start, asked.options.end) == (
        "reference", 1.5, 3.0,
    )  # fmt: skip
    assert asked.options.audio_track == 2


@pytest.mark.parametrize("text", ["0", "-1", "1.5", "two", "+1", "1_0", "٢", "1001", "9" * 5_000])
def test_what_is_no_number_of_a_track_is_refused(text):
    with pytest.raises(OptionError, match="expected a whole number, 1 to 1,000") as caught:
        parse(("audio_track", text))
    assert caught.value.parameter == "audio_track"


@pytest.mark.parametrize(("text", "stream"), [("true", True), ("false", False)])
def test_a_stream_is_asked_for_by_name(text, stream):
    assert parse(("stream", text)).stream is stream
    assert parse().stream is False


@pytest.mark.parametrize("text", ["True", "1", "yes", "true "])
def test_another_value_of_stream_is_refused(text):
    with pytest.raises(OptionError, match="expected true or false") as caught:
        parse(("stream", text))
    assert caught.value.parameter == "stream"


@pytest.mark.parametrize("form", ["midi", "jsonl", "notesequence_json"])
def test_a_stream_has_no_other_form(form):
    with pytest.raises(OptionError, match="response_format=json") as caught:
        parse(("stream", "true"), ("response_format", form))
    assert caught.value.parameter == "stream"
    assert parse(("stream", "false"), ("response_format", form)).stream is False


@pytest.mark.parametrize("accept", [None, "", " ", "*/*", "text/event-stream", "application/json"])
def test_a_stream_is_for_who_accepts_events_or_json(accept):
    asked = parse(("stream", "true"), accept=accept)
    assert (asked.stream, asked.response_format) == (True, ExportFormat.JSON)


@pytest.mark.parametrize("accept", ["audio/midi", "text/event-stream;q=0", "nonsense"])
def test_a_stream_is_not_for_who_accepts_neither(accept):
    with pytest.raises(OptionError, match="text/event-stream or application/json") as caught:
        parse(("stream", "true"), accept=accept)
    assert caught.value.parameter == "stream"


def test_accepting_events_does_not_ask_for_a_stream():
    with pytest.raises(NotAcceptableError, match="stream=true"):
        parse(accept="text/event-stream")
    assert parse(accept="text/event-stream, application/json").stream is False


def test_an_unknown_option_is_refused_with_those_that_are_known():
    with pytest.raises(OptionError) as caught:
        parse(("respose_format", "midi"))
    assert caught.value.parameter == "respose_format"
    assert all(name in str(caught.value) for name in OPTION_NAMES)


def test_an_option_given_twice_is_refused():
    with pytest.raises(OptionError, match="start is given 2 times") as caught:
        parse(("start", "1"), ("start", "1"))
    assert caught.value.parameter == "start"


@pytest.mark.parametrize("name", ["start", "end"])
@pytest.mark.parametrize("text", ["abc", "nan", "inf", "-1", "1e7", "1,5", "0x10", "1_0_"])
def test_a_time_that_is_no_number_of_seconds_is_refused(name, text):
    with pytest.raises(OptionError, match="expected seconds") as caught:
        parse((name, text))
    assert caught.value.parameter == name


@pytest.mark.parametrize(("start", "end"), [("2", "2"), ("3", "1"), ("0", "0")])
def test_an_end_that_is_not_after_the_start_is_refused(start, end):
    with pytest.raises(OptionError) as caught:
        parse(("start", start), ("end", end))
    assert caught.value.parameter == "end"


@pytest.mark.parametrize(
    ("name", "allowed"), [("decoding", "greedy or reference"), ("response_format", "json, jsonl")]
)
def test_an_unknown_value_is_refused_with_those_allowed(name, allowed):
    with pytest.raises(OptionError, match=allowed) as caught:
        parse((name, "best"))
    assert caught.value.parameter == name


def test_another_model_is_not_found():
    with pytest.raises(ModelNotFoundError, match="serves 'mt3'"):
        parse(("model", "ismir2021"))


def test_response_format_counts_more_than_accept():
    asked = parse(("response_format", "midi"), accept="image/png")
    assert asked.response_format is ExportFormat.MIDI


@pytest.mark.parametrize(
    ("accept", "chosen"),
    [
        (None, ExportFormat.JSON),
        ("", ExportFormat.JSON),
        ("*/*", ExportFormat.JSON),
        ("text/html,application/xhtml+xml,*/*;q=0.8", ExportFormat.JSON),
        ("application/*", ExportFormat.JSON),
        ("audio/midi", ExportFormat.MIDI),
        ("AUDIO/MIDI", ExportFormat.MIDI),
        ("audio/x-midi", ExportFormat.MIDI),
        ("audio/*", ExportFormat.MIDI),
        ("image/png", ExportFormat.PIANO_ROLL),
        ("image/svg+xml", ExportFormat.PIANO_ROLL_SVG),
        ("application/x-ndjson", ExportFormat.JSONL),
        ("application/vnd.recordare.musicxml+xml", ExportFormat.MUSICXML),
        ("application/pdf", ExportFormat.SCORE_PDF),
        ("application/x-protobuf", ExportFormat.NOTESEQUENCE),
        ("application/json;q=0.5, audio/midi", ExportFormat.MIDI),
        ("application/json;q=0, */*", ExportFormat.MIDI),
        ("text/html, image/png ; q=0.1", ExportFormat.PIANO_ROLL),
    ],
)
def test_accept_chooses_the_form(accept, chosen):
    assert choose_format(accept) is chosen


@pytest.mark.parametrize(
    "accept", ["text/html", "application/json;q=0", "*/*;q=0", "nonsense", "audio/midi;q=nan", ","]
)
def test_accept_of_nothing_offered_is_refused_with_what_is(accept):
    with pytest.raises(NotAcceptableError, match="audio/midi"):
        choose_format(accept)


def test_what_is_shown_of_an_overlong_value_is_short():
    with pytest.raises(OptionError) as caught:
        parse(("x" * 60_000, "1"))
    assert len(str(caught.value)) < 300
    assert len(caught.value.parameter) == 100
