import pytest

from mt3_model.notes.musical_time import Key, key_name
from mt3_model.rhythm.key import find_key, key_signature
from mt3_model.rhythm.onset_strength import NoteArrays
from tests.unit.rhythm.music import beat_times, place

MAJOR = (0, 2, 4, 5, 7, 9, 11, 12, 7, 4, 0)


@pytest.mark.parametrize(
    ("tonic", "fifths"), [(60, 0), (62, 2), (65, -1), (63, -3), (66, 6), (61, -5)]
)
def test_a_scale_has_its_key_signature(tonic, fifths):
    events = [(i, 1.0, tonic + step, 0) for i, step in enumerate(MAJOR)]
    key = find_key(NoteArrays.from_notes(place(beat_times(20, tempo=100), events).notes))
    assert key is not None
    assert (key.fifths, key.mode) == (fifths, "major")
    assert key.confidence > 0.5


@pytest.mark.parametrize(
    ("tonic", "mode", "fifths"),
    [(0, "major", 0), (9, "minor", 0), (6, "major", 6), (1, "major", -5), (3, "minor", -6),
     (8, "minor", 5), (10, "minor", -5)],
)  # fmt: skip
def test_a_key_is_written_with_the_fewest_accidentals(tonic, mode, fifths):
    assert key_signature(tonic, mode) == fifths


@pytest.mark.parametrize(
    ("fifths", "mode", "name"),
    [(0, "major", "C major"), (-3, "minor", "C minor"), (6, "major", "F# major"),
     (-7, "minor", "Ab minor"), (7, "minor", "A# minor")],
)  # fmt: skip
def test_keys_have_names(fifths, mode, name):
    assert key_name(Key(fifths=fifths, mode=mode, confidence=1.0)) == name


def test_few_notes_and_drums_have_no_key():
    beats = beat_times(20, tempo=100)
    few = place(beats, [(i, 1.0, 60, 0) for i in range(7)])
    drums = place(beats, [(i, 0.1, 36, None) for i in range(16)])
    assert find_key(NoteArrays.from_notes(few.notes)) is None
    assert find_key(NoteArrays.from_notes(drums.notes)) is None
