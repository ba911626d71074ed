"""A record is read back as an equal transcription, to the last bit."""

import dataclasses
import gzip
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mt3_model.errors import RecordError
from mt3_model.export.formats import ExportFormat, export
from mt3_model.export.record import from_record, options_from_json, options_to_json, to_record
from mt3_model.notes.note import Note, NoteSequence
from mt3_model.notes.transcription import (
    ModelProvenance,
    Transcription,
    TranscriptionOptions,
    TranscriptionWarning,
    Usage,
)

_seconds = st.floats(0, 1e5)
_span = {"start": st.none() | _seconds, "end": st.none() | _seconds}
_notes = st.lists(
    st.fixed_dictionaries({
        "pitch": st.integers(0, 127), "start_time": _seconds, "end_time": _seconds,
        "velocity": st.integers(1, 127), "program": st.integers(0, 127), "is_drum": st.booleans(),
        "instrument": st.integers(0, 20), "confidence": st.none() | st.floats(0, 1),
    })
)  # fmt: skip
_warnings = st.lists(
    st.fixed_dictionaries({"code": st.text(), "message": st.text(), **_span}), max_size=3
)


def build(notes, warnings, seconds, text):
    """Build a transcription in the test: the runtime type checks draw random numbers themselves."""
    return Transcription(
        notes=NoteSequence(notes=tuple(Note(**note) for note in notes), total_time=seconds),
        model=ModelProvenance(
            name=text, checkpoint_sha256=text, code_version=text, precision="bfloat16"
        ),
        options=TranscriptionOptions(decoding="reference", start=seconds, end=seconds),
        duration_seconds=seconds,
        warnings=tuple(TranscriptionWarning(**warning) for warning in warnings),
        usage=Usage(audio_seconds=seconds, segments=len(notes), tokens=7, wall_seconds=seconds),
        invalid_events=len(warnings),
        dropped_events=3,
    )


@given(_notes, _warnings, _seconds, st.text())
def test_what_is_read_equals_what_was_written(notes, warnings, seconds, text):
    transcription = build(notes, warnings, seconds, text)
    record = to_record(transcription)
    assert from_record(record) == transcription
    assert to_record(from_record(record)) == record


@pytest.mark.slow
@given(_notes, _warnings)
def test_every_export_of_a_record_is_the_same(notes, warnings):
    transcription = build(notes, warnings, 0.1 + 0.2, "x")
    again = from_record(to_record(transcription))
    for form in (ExportFormat.JSON, ExportFormat.JSONL, ExportFormat.NOTESEQUENCE):
        written = [export(t, form, transcription_id="x", created=1) for t in (transcription, again)]
        assert written[0] == written[1]


def test_a_confidence_that_is_not_a_number_is_null_in_every_format():
    note = Note(pitch=60, start_time=0.0, end_time=1.0, velocity=100, confidence=float("nan"))
    made = dataclasses.replace(
        build([], [], 1.0, "a"), notes=NoteSequence(notes=(note,), total_time=1.0)
    )
    (read,) = from_record(to_record(made)).notes.notes
    assert read.confidence is None
    written = export(made, ExportFormat.JSON, transcription_id="tr_1", created=0)
    assert json.loads(written)["notes"][0]["confidence"] is None


def test_options_survive_json():
    options = TranscriptionOptions(decoding="reference", start=0.1 + 0.2, end=1 / 3)
    assert options_from_json(json.loads(json.dumps(options_to_json(options)))) == options


def test_a_default_clean_up_is_left_out_of_a_row_for_the_release_before():
    assert "postprocess" not in options_to_json(TranscriptionOptions())
    assert options_to_json(TranscriptionOptions(postprocess="none"))["postprocess"] == "none"


def test_one_pass_is_left_out_of_a_row_for_the_release_before():
    assert "quality" not in options_to_json(TranscriptionOptions())
    assert options_to_json(TranscriptionOptions(quality="high"))["quality"] == "high"


def test_a_record_keeps_the_quality_and_an_older_one_has_one_pass():
    made = dataclasses.replace(
        build([], [], 1.0, "a"), options=TranscriptionOptions(quality="high")
    )
    record = to_record(made)
    assert from_record(record).options.quality == "high"
    document = json.loads(gzip.decompress(record))
    del document["quality"]
    assert from_record(gzip.compress(json.dumps(document).encode())).options.quality == "standard"


def test_an_older_record_holds_the_models_own_notes():
    made = build([], [], 1.0, "a")
    document = json.loads(gzip.decompress(to_record(made)))
    assert document.pop("postprocess") == "default"
    older = from_record(gzip.compress(json.dumps(document).encode()))
    assert older.options.postprocess == "none"


@pytest.mark.parametrize("record", [b"", b"not compressed"])
def test_bytes_that_are_not_gzip_are_rejected(record):
    _is_rejected(record)


@pytest.mark.parametrize(
    "text", ["not json", '{"format": 2}', '{"format": 1}', '{"format": 1, "notes": {"pitch": [1]}}']
)
def test_other_text_is_rejected(text):
    _is_rejected(gzip.compress(text.encode()))


def _is_rejected(record):
    with pytest.raises(RecordError):
        from_record(record)


def test_a_record_that_was_cut_off_is_rejected():
    whole = to_record(build([], [], 1.0, "x"))
    for length in (1, len(whole) // 2, len(whole) - 1):
        with pytest.raises(RecordError):
            from_record(whole[:length])


def test_named_instruments_survive_a_record_and_a_row():
    options = TranscriptionOptions(instruments=("piano", "33", "drums"))
    assert options_from_json(json.loads(json.dumps(options_to_json(options)))) == options
    made = dataclasses.replace(build([], [], 1.0, "a"), options=options)
    assert from_record(to_record(made)).options == options
    assert "instruments" not in options_to_json(TranscriptionOptions())
