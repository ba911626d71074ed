"""The 8va and 8vb lines of a staff."""

from xml.etree import ElementTree

from mt3_model.notes.note import Note, NoteSequence
from mt3_model.score.arranging import arrange, split_score
from mt3_model.score.musicxml import write_musicxml

GUITAR, BASS, VIOLIN, VIBRAPHONE = 24, 33, 40, 11


def line(program, pitches):
    notes = tuple(
        Note(pitch=p, start_time=i / 2, end_time=i / 2 + 0.5, velocity=100, program=program)
        for i, p in enumerate(pitches)
    )
    return NoteSequence(notes=notes, total_time=len(pitches) / 2)


def octave_lines(program, pitches):
    (part,) = arrange(line(program, pitches), None).parts
    return [(o.start // 24, o.end // 24, o.is_up) for o in part.staves[0].octave_lines]


def test_a_high_passage_is_under_an_8va_line_and_only_that():
    # A guitar's E6 is written E7, seven ledger lines above the staff.
    assert octave_lines(GUITAR, [64] * 4 + [88] * 6 + [64] * 6) == [(4, 10, True)]


def test_one_high_note_keeps_its_ledger_lines():
    assert octave_lines(GUITAR, [64] * 7 + [84] + [64] * 8) == []


def test_a_violinist_reads_ledger_lines():
    assert octave_lines(VIOLIN, [96] * 16) == []


def test_a_low_bass_is_under_an_8vb_line():
    # B0, written B1, is three ledger lines below the bass staff; F0 has five.
    assert octave_lines(BASS, [23] * 16) == []
    assert octave_lines(BASS, [40] * 4 + [16] * 12) == [(4, 16, False)]


def test_the_file_keeps_the_pitch_and_marks_both_ends():
    notes = line(VIBRAPHONE, [72] * 4 + [98] * 8 + [72] * 4)
    root = ElementTree.fromstring(write_musicxml(arrange(notes, None), title="", software=""))
    marks = [shift.get("type") for shift in root.iter("octave-shift")]
    assert marks == ["down", "stop"]
    assert [p.text for p in root.iter("octave")].count("7") == 8
    (before,) = [
        index for index, child in enumerate(root.findall("part/measure")[1])
        if child.find("direction-type/octave-shift") is not None
    ]  # fmt: skip
    assert root.findall("part/measure")[1][before + 1].findtext("pitch/octave") == "7"


def test_a_line_over_the_border_of_sections_is_in_both():
    score = arrange(line(VIBRAPHONE, [98] * 16), None)
    first, second = split_score(score, 2)
    (begun,) = first.parts[0].staves[0].octave_lines
    (continued,) = second.parts[0].staves[0].octave_lines
    assert (begun.start, begun.end) == (0, 2 * 96)
    assert (continued.start, continued.end) == (2 * 96, 4 * 96)
