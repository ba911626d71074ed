"""A few notes among many get no staff of their own."""

from xml.etree import ElementTree

from mt3_model.notes.note import Note, NoteSequence
from mt3_model.notes.tracks import group_tracks
from mt3_model.score.arranging import arrange
from mt3_model.score.musicxml import write_musicxml
from mt3_model.score.strays import gather_strays

PIANO, BASS, VIOLIN = 0, 33, 40
RIDE = 51


def line(program, pitch, count, *, start=0.0):
    """Return notes of half a second, one after the other."""
    return [
        Note(
            pitch=pitch, start_time=start + i / 2, end_time=start + i / 2 + 0.4, velocity=100,
            program=program,
        )
        for i in range(count)
    ]  # fmt: skip


def drums(count):
    return [
        Note(
            pitch=RIDE,
            start_time=float(i),
            end_time=i + 0.01,
            velocity=100,
            is_drum=True,
            program=0,
        )
        for i in range(count)
    ]


def sequence(*lines):
    notes = tuple(note for notes in lines for note in notes)
    return NoteSequence(notes=notes, total_time=max(note.end_time for note in notes))


def gather(*lines):
    return gather_strays(group_tracks(sequence(*lines)))


def sizes(gathered):
    return {(t.program, t.is_drum): len(t.notes) for t in gathered.tracks}


def test_stray_notes_join_the_track_that_is_nearest_in_pitch_and_time():
    gathered = gather(line(PIANO, 72, 100), line(BASS, 40, 100), line(VIOLIN, 45, 3, start=8))
    assert sizes(gathered) == {(PIANO, False): 100, (BASS, False): 103}
    assert gathered.left_out == ()


def test_stray_drums_are_left_out():
    gathered = gather(line(PIANO, 72, 100), drums(2))
    assert sizes(gathered) == {(PIANO, False): 100}
    assert gathered.left_out == ("2 of Drums",)


def test_a_stray_pitched_note_among_drums_is_left_out():
    gathered = gather(line(PIANO, 72, 1), drums(200))
    assert sizes(gathered) == {(PIANO, True): 200}
    assert gathered.left_out == ("1 of Acoustic Grand Piano",)


def test_a_short_line_in_a_long_piece_keeps_its_staff():
    gathered = gather(line(PIANO, 72, 1000), line(VIOLIN, 76, 5))
    assert sizes(gathered) == {(PIANO, False): 1000, (VIOLIN, False): 5}


def test_a_short_recording_has_no_stray_notes():
    gathered = gather(line(PIANO, 72, 40), line(VIOLIN, 76, 1), drums(1))
    assert len(gathered.tracks) == 3


def test_chords_that_no_bass_can_play_go_to_the_nearest_track():
    chords = [*line(BASS, 64, 5, start=4), *line(BASS, 72, 5, start=4)]
    gathered = gather(line(PIANO, 60, 100), line(VIOLIN, 90, 100), line(BASS, 40, 100), chords)
    assert sizes(gathered) == {(PIANO, False): 110, (BASS, False): 100, (VIOLIN, False): 100}


def test_a_bass_keeps_the_notes_that_a_bass_can_play():
    gathered = gather(line(PIANO, 72, 100), line(BASS, 40, 100), line(BASS, 64, 5, start=4))
    assert sizes(gathered) == {(PIANO, False): 100, (BASS, False): 105}


def test_the_score_says_what_it_leaves_out():
    notes = sequence(line(PIANO, 72, 100), drums(2))
    content = write_musicxml(arrange(notes, None), title="Song", software="test")
    root = ElementTree.fromstring(content)
    assert len(root.findall("part")) == 1
    field = root.find("identification/miscellaneous/miscellaneous-field")
    assert (field.get("name"), field.text) == ("notes left out", "2 of Drums")
