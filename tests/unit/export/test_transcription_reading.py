"""The JSON document is read back as it was written, and notes that cannot be are refused."""

import dataclasses
import io
import json

import mido
import pytest
from msgspec import structs

from mt3_model.errors import OptionError
from mt3_model.export.formats import ExportFormat, export
from mt3_model.export.transcription_reading import from_json_document
from mt3_model.notes.note import NoteSequence
from tests.unit.export.transcriptions import DRUM, PIANO, TRANSCRIPTION

# In the order in which notes end, as the decoder writes them, with numbers that the document holds
# exactly.
NOTES = (DRUM, structs.replace(PIANO, start_time=0.3, confidence=0.1235))
WHOLE = dataclasses.replace(
    TRANSCRIPTION,
    notes=NoteSequence(notes=NOTES, total_time=0.5),
    velocity="estimated",
)


def document():
    return json.loads(export(WHOLE, ExportFormat.JSON, transcription_id="tr_1", created=1))


# The pages of the PDF are drawn from the same MusicXML, and hold the time of writing.
@pytest.mark.parametrize("form", [form for form in ExportFormat if form.value != "score_pdf"])
def test_every_format_is_written_as_from_the_original(form):
    read = from_json_document(document())
    identity = {"transcription_id": "tr_1", "created": 1}
    assert export(read, form, **identity) == export(WHOLE, form, **identity)


def test_a_note_given_to_another_program_moves_to_its_track():
    edited = document()
    pitched = [note for note in edited["notes"] if not note["is_drum"]]
    pitched[0]["program"] = 73
    read = from_json_document(edited)
    assert 73 in {note.program for note in read.notes}
    assert len(read.notes) == len(edited["notes"])


def test_a_document_without_notes_has_no_length():
    read = from_json_document(document() | {"notes": []})
    assert (len(read.notes), read.notes.total_time) == (0, 0.0)


@pytest.mark.parametrize(
    "change",
    [
        {"start_time": 2.0, "end_time": 1.0},
        {"end_time": float("nan")},
        {"end_time": 1e9},
        {"velocity": 0},
    ],
)
def test_a_note_that_cannot_be_is_refused(change):
    edited = document()
    edited["notes"][0] |= change
    with pytest.raises(OptionError, match=r"expected"):
        from_json_document(edited)


def test_a_name_given_to_an_instrument_is_in_every_format_that_names_tracks():
    edited = document()
    for note in edited["notes"]:
        note["instrument_name"] = "Kit\x07" if note["is_drum"] else "Left hand"
    read = from_json_document(edited)
    identity = {"transcription_id": "tr_1", "created": 1}
    again = json.loads(export(read, ExportFormat.JSON, **identity))
    assert {track["name"] for track in again["tracks"]} == {"Kit", "Left hand"}
    assert {note["instrument_name"] for note in again["notes"]} == {"Kit", "Left hand"}
    midi = mido.MidiFile(file=io.BytesIO(export(read, ExportFormat.MIDI, **identity)))
    assert [track.name for track in midi.tracks[1:]] == ["Left hand", "Kit"]
    score = export(read, ExportFormat.MUSICXML, **identity)
    assert b"<part-name>Left hand</part-name>" in score
    assert b"<part-name>Kit</part-name>" in score


def test_the_name_of_the_old_program_does_not_stay_with_a_note():
    edited = document()
    for note in edited["notes"]:
        if not note["is_drum"]:
            note["program"] = 73
    assert from_json_document(edited).notes.track_names == ()
