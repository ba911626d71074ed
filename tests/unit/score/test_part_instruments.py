"""The notation of each track: sections, staves and names."""

from mt3_model.notes.note import Note, NoteSequence
from mt3_model.score.arranging import arrange
from mt3_model.score.part_instruments import abbreviate

PIANO, ORGAN, VIOLIN, TRUMPET, HORN = 0, 16, 40, 56, 60


def chords(program, pitches, count=8):
    """Return chords of a second, one after the other."""
    return [
        Note(
            pitch=pitch, start_time=float(i), end_time=i + 0.9, velocity=100, program=program,
        )
        for i in range(count) for pitch in pitches
    ]  # fmt: skip


def parts(*lines, names=()):
    notes = tuple(note for notes in lines for note in notes)
    sequence = NoteSequence(
        notes=notes, total_time=max(note.end_time for note in notes), track_names=names
    )
    return arrange(sequence, None).parts


def test_a_horn_that_plays_chords_is_a_section_at_sounding_pitch():
    (part,) = parts(chords(HORN, (60, 64, 67)))
    assert part.instrument.name == "Horns"
    assert part.instrument.transposition.total == 0
    assert len(part.staves) == 1


def test_a_horn_that_plays_one_note_at_a_time_is_in_f():
    (part,) = parts(chords(HORN, (60,)))
    assert part.instrument.name == "Horn in F"
    assert part.instrument.transposition.total == -7


def test_a_section_that_is_high_and_low_has_two_staves():
    (part,) = parts(chords(HORN, (45, 52, 60, 72)))
    assert len(part.staves) == 2


def test_a_violin_may_play_two_notes_at_once():
    (part,) = parts(chords(VIOLIN, (62, 69)))
    assert part.instrument.name == "Violin"


def test_an_organ_has_two_staves_only_where_one_would_need_many_ledger_lines():
    assert len(parts(chords(ORGAN, (60, 64, 67)))[0].staves) == 1
    assert len(parts(chords(ORGAN, (41, 48, 67, 72)))[0].staves) == 2


def test_a_named_part_has_an_abbreviation_of_its_name():
    (part,) = parts(chords(TRUMPET, (60,)), names=((TRUMPET, "Flugelhorn solo"),))
    assert (part.instrument.name, part.instrument.abbreviation) == ("Flugelhorn solo", "Flu. solo")
    assert abbreviate("Oboe") == "Oboe"


def test_parts_of_one_name_are_numbered_in_both_names():
    written = parts(chords(24, (60,)), chords(25, (64,)))
    assert [p.instrument.name for p in written] == ["Acoustic Guitar 1", "Acoustic Guitar 2"]
    assert [p.instrument.abbreviation for p in written] == ["Guit. 1", "Guit. 2"]
