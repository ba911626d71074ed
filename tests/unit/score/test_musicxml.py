"""The written file: parts, transposition, accidentals, drums, and what an empty score says."""

from xml.etree import ElementTree

from mt3_model.notes.musical_time import Key, MusicalTime, TimeSignature
from mt3_model.notes.note import Note, NoteSequence
from mt3_model.score.arranging import arrange
from mt3_model.score.musicxml import printable_title, write_musicxml


def note(pitch, start, end, *, program=0, is_drum=False):
    return Note(
        pitch=pitch, start_time=float(start), end_time=float(end), velocity=100,
        program=program, is_drum=is_drum,
    )  # fmt: skip


def sequence(*notes):
    return NoteSequence(notes=notes, total_time=max((n.end_time for n in notes), default=0.0))


def time(*, numerator=4, denominator=4, first_downbeat=0, fifths=None):
    """One beat per second, 20 beats."""
    key = None if fifths is None else Key(fifths=fifths, mode="major", confidence=1.0)
    return MusicalTime(
        beat_times=tuple(float(i) for i in range(21)),
        time_signature=TimeSignature(numerator=numerator, denominator=denominator),
        first_downbeat=first_downbeat,
        key=key,
        tempo_confidence=1.0,
        meter_confidence=1.0,
    )


def write(notes, musical_time=None):
    return ElementTree.fromstring(
        write_musicxml(arrange(notes, musical_time), title="Song", software="test")
    )


def test_a_title_has_no_characters_that_xml_cannot_hold():
    assert printable_title("Étude\x00 <1>\n\ud800") == "Étude <1>"
    assert printable_title(" first\r\nsecond\tthird\u00a0fourth ") == "first second third fourth"
    assert printable_title("\x07") == printable_title(None) == "Transcription"
    assert len(printable_title("x" * 1000)) == 200


def spelled(root):
    return [
        pitch.findtext("step") + {-1: "b", 0: "", 1: "#"}[int(pitch.findtext("alter") or 0)]
        for pitch in root.iter("pitch")
    ]


def test_a_score_without_notes_says_so():
    root = write(sequence())
    assert root.findtext("work/work-title") == "Song"
    assert root.find("part/measure/note/rest").get("measure") == "yes"
    assert [w.text for w in root.iter("words")] == ["No notes were found"]


def test_a_score_without_beats_says_so():
    words = [w.text for w in write(sequence(note(60, 0, 1))).iter("words")]
    assert words == ["No beat was estimated: written at 120 beats per minute in 4/4"]
    assert list(write(sequence(note(60, 0, 1)), time()).iter("words")) == []


def test_a_clarinet_is_written_a_whole_tone_higher_and_its_key_too():
    root = write(sequence(note(60, 0, 1, program=71), note(64, 1, 2, program=71)), time(fifths=0))
    assert root.findtext("part-list/score-part/part-name") == "Clarinet in B♭"
    assert root.findtext("part/measure/attributes/key/fifths") == "2"
    assert root.findtext("part/measure/attributes/transpose/chromatic") == "-2"
    assert spelled(root) == ["D", "F#"]
    assert list(root.iter("accidental")) == []  # F sharp is in the key


def test_a_guitar_is_written_an_octave_higher():
    root = write(sequence(note(52, 0, 1, program=24)), time())
    assert root.findtext(".//transpose/octave-change") == "-1"
    assert root.findtext(".//pitch/octave") == "4"  # sounds E3


def test_a_bass_guitar_keeps_its_clef_however_high_it_plays():
    notes = sequence(*(note(84, beat, beat + 1, program=33) for beat in range(16)))
    assert [clef.text for clef in write(notes, time()).findall(".//clef/sign")] == ["F"]


def test_a_key_out_of_reach_is_written_enharmonically():
    # B major (5 sharps) for an alto saxophone would have 8 sharps: A flat major has 4 flats.
    root = write(sequence(note(59, 0, 1, program=65)), time(fifths=5))
    assert root.findtext(".//key/fifths") == "-4"
    assert spelled(root) == ["Ab"]


def test_a_piano_has_two_staves_and_the_hands_are_on_them():
    root = write(sequence(note(40, 0, 1), note(72, 0, 1), note(76, 0, 1)), time())
    staves = {n.findtext("pitch/octave"): n.findtext("staff") for n in root.iter("note")}
    assert root.findtext(".//staves") == "2"
    assert (staves["5"], staves["2"]) == ("1", "2")


def test_accidentals_are_written_once_in_a_bar_and_canceled():
    # F sharp, F sharp, F natural in C major, then F sharp in the next bar.
    notes = [note(p, i, i + 1, program=73) for i, p in enumerate((66, 66, 65, 67, 66, 67, 67, 67))]
    root = write(sequence(*notes), time(fifths=0))
    assert [a.text for a in root.iter("accidental")] == ["sharp", "natural", "sharp"]


def test_a_chromatic_note_is_spelled_by_where_it_leads():
    up = [note(p, i, i + 1, program=73) for i, p in enumerate((67, 68, 69, 72, 64, 65, 67, 72))]
    down = [note(p, i, i + 1, program=73) for i, p in enumerate((69, 68, 67, 72, 64, 65, 67, 72))]
    assert spelled(write(sequence(*up), time(fifths=0)))[1] == "G#"
    assert spelled(write(sequence(*down), time(fifths=0)))[1] == "Ab"


def test_a_note_over_the_bar_line_is_tied():
    root = write(sequence(note(72, 3, 6, program=73)), time())
    ties = [
        [t.get("type") for t in n.findall("tie")]
        for n in root.iter("note")
        if n.find("tie") is not None
    ]
    assert ties == [["start"], ["stop"]]


def test_a_tail_over_the_last_bar_line_makes_no_bar_of_its_own():
    tail = write(sequence(note(72, 0, 4, program=73), note(76, 4, 9, program=73)), time())
    held = write(sequence(note(72, 0, 4, program=73), note(76, 4, 11, program=73)), time())
    assert len(tail.findall("part/measure")) == 2
    assert list(tail.iter("tie")) == []
    assert len(held.findall("part/measure")) == 3


def test_a_pickup_is_a_short_bar_without_a_number_of_its_own():
    root = write(sequence(note(67, 0, 1), note(72, 1, 2)), time(first_downbeat=1))
    first, second = root.findall("part/measure")
    assert (first.get("number"), first.get("implicit"), second.get("number")) == ("0", "yes", "1")


def test_a_pickup_without_notes_is_left_out():
    root = write(sequence(note(72, 1, 2)), time(first_downbeat=1))
    assert [m.get("number") for m in root.findall("part/measure")] == ["1"]


def test_drums_stand_on_a_percussion_staff_with_their_keys():
    drums = [note(36, 0, 0.1, is_drum=True), note(42, 0, 0.1, is_drum=True)]
    root = write(sequence(*drums), time())
    assert root.findtext(".//clef/sign") == "percussion"
    keys = {i.get("id"): i.findtext("midi-unpitched") for i in root.iter("midi-instrument")}
    assert keys == {"P1-I36": "37", "P1-I42": "43"}  # MusicXML counts from 1
    places = {
        n.find("instrument").get("id"): (
            n.findtext("unpitched/display-step"), n.findtext("notehead"), n.findtext("stem"),
        )
        for n in root.iter("note") if n.find("unpitched") is not None
    }  # fmt: skip
    assert places == {"P1-I42": ("G", "x", "up"), "P1-I36": ("F", None, "down")}


def test_parts_are_in_score_order_with_their_programs():
    notes = [note(60, 0, 1, program=p) for p in (0, 33, 40, 56, 73)]
    root = write(sequence(*notes, note(36, 0, 0.1, is_drum=True)), time())
    names = [p.findtext("part-name") for p in root.iter("score-part")]
    assert names == ["Flute", "Trumpet in B♭", "Piano", "Violin", "Electric Bass", "Drum Set"]
    programs = [p.findtext("midi-instrument/midi-program") for p in root.iter("score-part")]
    assert programs[:5] == ["74", "57", "1", "41", "34"]


def test_a_dotted_quarter_is_the_beat_of_six_eight():
    notes = [note(72, i / 3, (i + 1) / 3, program=73) for i in range(6)]
    root = write(sequence(*notes), time(numerator=6, denominator=8))
    assert [n.findtext("type") for n in root.iter("note")] == ["eighth"] * 6
    assert root.find(".//metronome/beat-unit-dot") is not None
    assert root.find(".//sound").get("tempo") == "90.00"  # 60 dotted quarters a minute


def test_triplets_have_a_bracket():
    notes = [note(72, i / 3, (i + 1) / 3, program=73) for i in range(12)]
    root = write(sequence(*notes), time())
    assert {n.findtext("time-modification/actual-notes") for n in root.iter("note")} == {"3"}
    assert [t.get("type") for t in root.iter("tuplet")] == ["start", "stop"] * 4


def test_swung_eighths_are_written_as_eighths():
    starts = [beat + offset for beat in range(12) for offset in (0.0, 2 / 3)]
    ends = [*starts[1:], 12.0]
    notes = [note(72, s, e, program=73) for s, e in zip(starts, ends, strict=True)]
    root = write(sequence(*notes), time())
    assert {n.findtext("type") for n in root.iter("note")} == {"eighth"}
    assert [w.text for w in root.iter("words")] == ["Swing"]
