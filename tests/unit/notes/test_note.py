"""A note is a value: it compares by its fields, cannot be changed and can be sent to processes."""

import copy
import pickle

import pytest
from msgspec import structs

from mt3_model.notes.note import Note

NOTE = Note(pitch=60, start_time=0.1 + 0.2, end_time=1.0, velocity=100, confidence=0.5)


def test_equal_fields_make_equal_notes():
    same = structs.replace(structs.replace(NOTE, pitch=61), pitch=60)
    assert same == NOTE
    assert hash(same) == hash(NOTE)
    assert structs.replace(NOTE, pitch=61) != NOTE


def test_a_note_cannot_be_changed():
    with pytest.raises(AttributeError):
        NOTE.pitch = 61


def test_a_note_with_a_field_missing_or_unknown_is_refused():
    with pytest.raises(TypeError, match="velocity"):
        Note(pitch=60, start_time=0.0, end_time=1.0)
    with pytest.raises(TypeError, match="loudness"):
        structs.replace(NOTE, loudness=1)


@pytest.mark.parametrize(
    "again", [copy.copy, copy.deepcopy, lambda n: pickle.loads(pickle.dumps(n))]
)
def test_a_copy_and_a_pickled_note_are_equal(again):
    assert again(NOTE) == NOTE
