"""The notes of a client and those of the library are used alike."""

import inspect
from collections.abc import Sequence
from typing import get_args, get_type_hints

from mt3_model.notes import musical_time
from mt3_model.notes import note as library
from mt3_model.notes.transcription import Transcription
from service.client import Note
from service.client import Transcription as ClientTranscription
from tests.unit.service.transcriptions import TRANSCRIPTION


def kinds(cls):
    return {
        name: set(get_args(kind)) or {kind}
        for name, kind in get_type_hints(cls).items()
        if name in inspect.signature(cls).parameters
    }


def test_fields_of_one_name_have_one_type():
    ours, theirs = kinds(library.Note), kinds(Note)
    shared = ours.keys() & theirs.keys()
    assert shared >= {
        "start_time", "end_time", "pitch", "velocity", "program", "is_drum", "confidence",
    }  # fmt: skip
    for name in shared:
        assert ours[name] <= theirs[name], name


def test_notes_are_a_sequence_of_notes():
    assert get_type_hints(ClientTranscription)["notes"] == tuple[Note, ...]
    assert issubclass(get_type_hints(Transcription, localns=vars(musical_time))["notes"], Sequence)
    notes = TRANSCRIPTION.notes
    assert len(notes) == len(notes.notes) > 0
    assert list(notes) == [notes[n] for n in range(len(notes))] == list(notes.notes)
    assert notes[-1] in notes
    assert notes[:1] == notes.notes[:1]
