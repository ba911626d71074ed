"""The JSON document, field by field, and its line form."""

import dataclasses
import json

import pytest

from mt3_model.export.formats import ExportFormat, export
from mt3_model.export.transcription_json import to_json_document, to_json_lines
from mt3_model.notes.note import Note, NoteSequence
from tests.unit.export.transcriptions import TRANSCRIPTION


def document(transcription=TRANSCRIPTION):
    return to_json_document(transcription, transcription_id="tr_1", created=1_700_000_000)


def test_document_has_all_fields():
    assert document() == {
        "id": "tr_1",
        "object": "transcription",
        "created": 1_700_000_000,
        "model": {
            "name": "mt3",
            "checkpoint_sha256": "ab",
            "code_version": "1.2",
            "precision": "float32",
            "precision_setting": "auto",
            "kernels": "xla",
            "instruction_set": None,
        },
        "options": {
            "model": "mt3",
            "decoding": "reference",
            "precision": "auto",
            "start": 0.1,
            "end": None,
            "audio_track": None,
            "postprocess": "default",
            "instruments": [],
            "quality": "standard",
            "tempo": None,
            "time_signature": None,
            "first_downbeat": None,
            "quantize": "none",
        },
        "duration_seconds": 2.0,
        "recording_seconds": None,
        "velocity": "constant",
        "tempo": None,
        "time_signature": None,
        "key": None,
        "tracks": [
            {
                "index": 0, "program": 0, "name": "Acoustic Grand Piano", "is_drum": False,
                "note_count": 1,
            },
            {"index": 1, "program": None, "name": "Drums", "is_drum": True, "note_count": 1},
        ],
        "notes": [
            {
                "start_time": 0.2, "end_time": 0.21, "pitch": 36, "velocity": 127,
                "program": None, "is_drum": True, "track": 1, "instrument_name": "Drums",
                "drum_name": "Bass Drum 1", "confidence": None,
            },
            {
                "start_time": 0.3, "end_time": 0.5, "pitch": 60, "velocity": 127,
                "program": 0, "is_drum": False, "track": 0,
                "instrument_name": "Acoustic Grand Piano", "drum_name": None,
                "confidence": 0.1235,
            },
        ],
        "warnings": [{"code": "truncated_audio", "message": "cut", "start": 1.0, "end": None}],
        "usage": {
            "audio_seconds": 2.0, "segments": 1, "tokens": 9, "queue_seconds": 0.25,
            "wall_seconds": 1.5,
        },
        "diagnostics": {"invalid_events": 3, "dropped_events": 4},
    }  # fmt: skip


def test_drums_never_share_a_program_with_the_piano():
    kinds = {(note["program"], note["is_drum"]) for note in document()["notes"]}
    assert kinds == {(0, False), (None, True)}


def test_tracks_are_in_the_order_in_which_their_first_notes_ended():
    def note(program, *, drum=False, pitch=60):
        return Note(
            pitch=pitch, start_time=0.0, end_time=1.0, velocity=127, program=program, is_drum=drum
        )

    notes = (note(40), note(0, drum=True, pitch=38), note(0), note(40), note(0, drum=True, pitch=1))
    several = document(
        dataclasses.replace(TRANSCRIPTION, notes=NoteSequence(notes=notes, total_time=1.0))
    )
    tracks = several["tracks"]
    assert [track["index"] for track in tracks] == [0, 1, 2]
    assert [track["name"] for track in tracks] == ["Violin", "Drums", "Acoustic Grand Piano"]
    for each in several["notes"]:
        track = tracks[each["track"]]
        assert (track["program"], track["name"]) == (each["program"], each["instrument_name"])
    # Keys outside General MIDI's have no name.
    assert [n["drum_name"] for n in several["notes"] if n["is_drum"]] == [None, "Acoustic Snare"]


def test_a_time_that_is_not_a_number_is_an_error():
    with pytest.raises(ValueError, match="JSON"):
        export(
            dataclasses.replace(TRANSCRIPTION, duration_seconds=float("nan")), ExportFormat.JSON,
            transcription_id="tr_1", created=0,
        )  # fmt: skip


def test_no_notes_give_empty_lists():
    silent = dataclasses.replace(TRANSCRIPTION, notes=NoteSequence(notes=(), total_time=0.0))
    assert (document(silent)["notes"], document(silent)["tracks"]) == ([], [])


def test_lines_have_the_content_of_the_document():
    lines = to_json_lines(TRANSCRIPTION, transcription_id="tr_1", created=1_700_000_000)
    head, *notes = [json.loads(line) for line in lines.splitlines()]
    assert {note.pop("object") for note in notes} == {"note"}
    assert {**head, "notes": notes} == document()
