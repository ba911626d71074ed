from mt3_model.notes.note import Note, NoteSequence
from mt3_model.notes.tracks import group_tracks


def note(pitch: int, program: int = 0, *, is_drum: bool = False) -> Note:
    return Note(
        pitch=pitch, start_time=0.0, end_time=1.0, velocity=90, program=program, is_drum=is_drum
    )


def test_notes_are_grouped_by_program_with_drums_last() -> None:
    drum, violin, piano, violin_again = note(36, is_drum=True), note(60, 40), note(61), note(62, 40)
    notes = (drum, violin, piano, violin_again)
    tracks = group_tracks(NoteSequence(notes=notes, total_time=1.0))
    assert [(track.name, track.program, track.is_drum) for track in tracks] == [
        ("Acoustic Grand Piano", 0, False),
        ("Violin", 40, False),
        ("Drums", 0, True),
    ]
    assert tracks[1].notes == (violin, violin_again)


def test_no_notes_give_no_tracks() -> None:
    assert group_tracks(NoteSequence(notes=(), total_time=0.0)) == ()
