"""The named instrument that each note of the model stands for."""

import pytest

from mt3_model.notes.instruments_option import parse_instruments
from mt3_model.notes.named_instruments import (
    find_merged,
    forbid_unnamed,
    nearest_named,
    rename_notes,
)
from mt3_model.notes.note import Note
from mt3_model.spec import MT3


def note(program=0, pitch=60, *, is_drum=False):
    return Note(
        pitch=pitch, start_time=0.0, end_time=1.0, velocity=127, program=program, is_drum=is_drum
    )


@pytest.mark.parametrize(
    ("program", "pitch", "names", "expected"),
    [
        (40, 60, ("violin", "viola"), 40),  # a named program keeps its notes
        (26, 60, ("30", "27", "0"), 27),  # the same kind of guitar
        (29, 60, ("24", "30"), 30),
        (24, 60, ("0", "30"), 30),  # the same family
        (48, 90, ("violin", "cello"), 40),  # by register
        (48, 40, ("violin", "cello"), 42),
        (61, 80, ("73", "60", "70"), 60),  # a horn is brass; a flute is not
        (4, 60, ("guitar",), 24),
        (4, 45, ("guitar", "bass"), 33),  # a low note is the bass
        (0, 60, ("ethnic",), 104),  # a family that the model does not know
        (0, 62, ("strings",), 41),
        (4, 60, ("73", "46"), 46),  # both decay
        (80, 60, ("73", "46"), 73),  # neither does
    ],
)
def test_a_note_goes_to_the_nearest_named_program(program, pitch, names, expected):
    assert nearest_named(program, pitch, parse_instruments(names)) == expected


def test_drums_stay_drums():
    drum = note(is_drum=True, pitch=36)
    assert rename_notes([drum, note(33)], parse_instruments(("drums", "32"))) == (drum, note(32))


def test_a_named_instrument_without_notes_is_found_with_one_that_may_have_them():
    named = parse_instruments(("violin", "viola", "cello", "flute"))
    assert find_merged([note(40), note(40), note(42)], named) == ((41, 40),)


def test_nothing_is_forbidden_unless_instruments_are_named():
    assert forbid_unnamed(MT3.vocabulary, None) is None
    assert forbid_unnamed(MT3.vocabulary, parse_instruments(("piano",))) is not None
