"""Two passes are stitched: each note once, from the pass whose border is further away.

A segment is 2 s here, so the first pass has borders at 2, 4, ... and is trusted up to 1.5 s and in
2.5-3.5 s; the second has borders at 1, 3, 5 ... and is trusted in 1.5-2.5 s and 3.5-4.5 s.
"""

import pytest

from mt3_model.notes.note import NoteSequence
from mt3_model.postprocessing.stitching import stitch_passes
from tests.unit.postprocessing.tones import note


def stitch(first, second, start=0.0):
    return stitch_passes(
        NoteSequence(notes=tuple(first), total_time=0.0),
        NoteSequence(notes=tuple(second), total_time=0.0),
        segment_seconds=2.0,
        start=start,
    ).notes


def test_a_note_that_one_pass_cuts_at_its_border_is_whole():
    assert stitch([note(60, 1.0, 2.0)], [note(60, 1.02, 2.4)]) == (note(60, 1.0, 2.4),)


def test_a_note_over_several_windows_is_followed_through_both_passes():
    first = [note(60, 0.5, 2.0), note(60, 2.0, 4.0)]
    second = [note(60, 0.5, 3.0), note(60, 3.0, 4.2)]
    assert stitch(first, second) == (note(60, 0.5, 4.2),)


def test_a_note_that_begins_at_a_border_is_the_other_pass_s():
    assert stitch([note(60, 2.0, 3.0)], [note(60, 1.9, 3.0)]) == (note(60, 1.9, 3.0),)


def test_a_note_of_both_passes_on_either_side_of_a_windows_begin_is_one():
    # Alone, the first two would both be left out, and the last two would both stay.
    assert stitch([note(60, 1.52, 1.8)], [note(60, 1.49, 1.8)]) == (note(60, 1.49, 1.8),)
    assert stitch([note(60, 1.47, 1.8)], [note(60, 1.51, 1.8)]) == (note(60, 1.47, 1.8),)


def test_a_note_of_one_pass_stays_where_that_pass_is_trusted():
    assert stitch([note(60, 2.6, 2.9), note(62, 2.1, 2.4)], []) == (note(60, 2.6, 2.9),)
    assert stitch([], [note(60, 2.6, 2.9), note(62, 2.1, 2.4)]) == (note(62, 2.1, 2.4),)


def test_the_start_of_the_recording_is_no_border():
    assert stitch([note(60, 0.0, 0.4)], [note(62, 0.0, 0.4)]) == (note(60, 0.0, 0.4),)


def test_windows_count_from_the_start_of_the_range():
    assert stitch([note(60, 12.1, 12.4)], [], start=12.0) == (note(60, 12.1, 12.4),)
    assert stitch([note(60, 12.1, 12.4)], [], start=10.0) == ()


def test_a_note_with_two_programs_is_of_the_trusted_pass():
    first, second = note(60, 2.0, 2.3, program=4), note(60, 2.0, 2.3, program=0)
    assert stitch([first], [second]) == (second,)


def test_a_doubled_note_has_the_partner_of_its_program():
    doubled = [note(60, 1.0, 1.3), note(60, 1.01, 1.3, program=40)]
    found = stitch(doubled, [note(60, 1.01, 1.3)])
    assert [each.program for each in found] == [0, 40]


def test_a_drum_is_paired_with_drums_alone():
    drum = note(60, 2.0, 2.01, drum=True)
    assert stitch([drum], [note(60, 2.0, 2.3)]) == (note(60, 2.0, 2.3),)


def test_a_followed_note_ends_where_the_next_of_its_pitch_begins():
    first = [note(60, 1.0, 2.0)]
    second = [note(60, 1.2, 2.4), note(60, 2.1, 2.4)]
    assert stitch(first, second) == (note(60, 1.0, 2.1), note(60, 2.1, 2.4))


@pytest.mark.parametrize("start", [0.0, 0.37, 1000.1])
def test_no_notes_give_no_notes(start):
    assert stitch([], [], start) == ()
