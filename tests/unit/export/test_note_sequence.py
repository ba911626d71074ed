"""The protobuf, compared with note-seq's own class, which a separate process imports."""

import json
import subprocess
import sys

import pytest

from mt3_model.export.note_sequence import (
    NoteSequenceProto,
    to_note_sequence_json,
    to_note_sequence_proto,
)
from mt3_model.notes.note import Note, NoteSequence

NOTES = NoteSequence(
    notes=(
        Note(pitch=60, start_time=0.1, end_time=0.5, velocity=100, program=33, instrument=1),
        Note(pitch=36, start_time=0.2, end_time=0.21, velocity=127, is_drum=True, instrument=9),
    ),
    total_time=0.5,
)


def test_every_field_comes_back():
    proto = NoteSequenceProto.FromString(to_note_sequence_proto(NOTES))
    assert proto.ticks_per_quarter == 220
    assert proto.total_time == 0.5
    assert proto.source_info.source_type == proto.SourceInfo.PERFORMANCE_BASED
    found = [
        (n.pitch, n.start_time, n.end_time, n.velocity, n.program, n.is_drum, n.instrument)
        for n in proto.notes
    ]
    assert found == [(60, 0.1, 0.5, 100, 33, False, 1), (36, 0.2, 0.21, 127, 0, True, 9)]


def test_json_form_has_the_names_of_protobuf():
    document = json.loads(to_note_sequence_json(NOTES))
    assert document["ticksPerQuarter"] == 220
    assert document["notes"][1] == {
        "pitch": 36, "velocity": 127, "startTime": 0.2, "endTime": 0.21,
        "isDrum": True, "instrument": 9,
    }  # fmt: skip


def test_no_notes_give_a_valid_message():
    empty = NoteSequence(notes=(), total_time=0.0)
    assert len(NoteSequenceProto.FromString(to_note_sequence_proto(empty)).notes) == 0
    assert json.loads(to_note_sequence_json(empty))["ticksPerQuarter"] == 220


@pytest.mark.slow
def test_our_class_is_that_of_note_seq_whichever_is_imported_first():
    # In separate processes: importing note_seq warns about a missing ffmpeg, and takes 2 s.
    ours = "from mt3_model.export.note_sequence import NoteSequenceProto as ours\n"
    theirs = "from note_seq.protobuf.music_pb2 import NoteSequence as theirs\n"
    check = (
        "message = ours(ticks_per_quarter=220, total_time=1.5)\n"
        "assert ours is theirs\n"
        "assert theirs.FromString(message.SerializeToString()) == message\n"
    )
    for program in (ours + theirs + check, theirs + ours + check):
        subprocess.run([sys.executable, "-c", program], check=True, capture_output=True)


def test_note_seq_itself_is_not_imported():
    program = (
        "import sys, mt3_model.export.note_sequence\n"
        "assert 'note_seq' not in sys.modules and 'pandas' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-W", "error", "-c", program], check=True)
