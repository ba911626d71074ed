from mt3_model.notes.note import Note, NoteSequence
from mt3_model.notes.trimming import trim_overlapping_notes


def note(start: float, end: float, pitch: int = 60, program: int = 0) -> Note:
    return Note(pitch=pitch, start_time=start, end_time=end, velocity=90, program=program)


def trim(*notes: Note) -> tuple[tuple[Note, ...], float]:
    trimmed = trim_overlapping_notes(NoteSequence(notes=notes, total_time=9.0))
    return trimmed.notes, trimmed.total_time


def test_earlier_note_ends_where_the_later_begins() -> None:
    assert trim(note(0.0, 2.0), note(1.0, 3.0)) == ((note(0.0, 1.0), note(1.0, 3.0)), 3.0)


def test_notes_keep_their_order() -> None:
    assert trim(note(1.0, 3.0), note(0.0, 2.0))[0] == (note(1.0, 3.0), note(0.0, 1.0))


def test_note_that_loses_all_its_time_is_dropped() -> None:
    assert trim(note(1.0, 2.0), note(1.0, 3.0))[0] == (note(1.0, 3.0),)


def test_other_pitches_and_programs_may_overlap() -> None:
    notes = (note(0.0, 2.0), note(1.0, 3.0, pitch=61), note(1.0, 3.0, program=8))
    assert trim(*notes)[0] == notes


def test_total_time_is_the_last_offset_left() -> None:
    assert trim(note(0.0, 9.0), note(1.0, 2.0)) == ((note(0.0, 1.0), note(1.0, 2.0)), 2.0)
