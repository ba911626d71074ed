"""Properties of the score: bars add up, every note occurs once, ties and transpositions agree."""

import collections
import itertools
from xml.etree import ElementTree

from hypothesis import example, given, settings
from hypothesis import strategies as st

from mt3_model.notes.musical_time import MusicalTime, TimeSignature
from mt3_model.notes.note import Note, NoteSequence
from mt3_model.notes.tracks import group_tracks
from mt3_model.score.arranging import arrange
from mt3_model.score.musicxml import write_musicxml
from mt3_model.score.strays import gather_strays
from tests.examples import examples

SIGNATURES = [
    (4, 4),
    (3, 4),
    (2, 4),
    (6, 8),
    (9, 8),
    (12, 8),
    (2, 2),
    (3, 2),
    (5, 4),
    (7, 8),
    (3, 8),
]
PROGRAMS = [0, 8, 12, 16, 24, 33, 40, 41, 42, 48, 56, 60, 65, 67, 71, 72, 9, 88]


ROWS = st.lists(
    st.tuples(
        st.one_of(st.floats(0, 10), st.integers(0, 40).map(lambda k: k / 4)),
        st.floats(0.01, 3.0),
        st.integers(27, 87),
        st.sampled_from([None, *PROGRAMS]),
    ),
    max_size=25,
)
"""Draw onset, length, pitch and program (None for drums) of each note."""
TIMES = st.tuples(
    st.sampled_from(SIGNATURES),
    st.floats(0.2, 1.2),
    st.lists(st.floats(0.9, 1.1), min_size=4, max_size=4),
    st.floats(-0.5, 0.0),
    st.integers(0, 11),
)
"""Draw time signature, length of a beat, its drift, first beat, first downbeat."""


def to_notes(rows):
    notes = tuple(
        Note(
            pitch=pitch, start_time=onset, end_time=onset + length, velocity=100,
            program=program or 0, is_drum=program is None,
        )
        for onset, length, pitch, program in rows
    )  # fmt: skip
    return NoteSequence(notes=notes, total_time=max((n.end_time for n in notes), default=0.0))


def to_musical_time(drawn):
    if drawn is None:
        return None
    (numerator, denominator), beat, drift, first, downbeat = drawn
    signature = TimeSignature(numerator=numerator, denominator=denominator)
    times = [first]
    while times[-1] < 14.0:
        times.append(times[-1] + beat * drift[len(times) % len(drift)])
    return MusicalTime(
        beat_times=tuple(times),
        time_signature=signature,
        first_downbeat=downbeat % signature.beats_per_bar,
        key=None,
        tempo_confidence=1.0,
        meter_confidence=1.0,
    )


def parse(rows, drawn):
    score = arrange(to_notes(rows), to_musical_time(drawn))
    return score, ElementTree.fromstring(write_musicxml(score, title="T", software="S"))


def duration(element):
    return int(element.findtext("duration"))


def written_voices(measure):
    """Return the end of each voice of a measure, checking that the cursor never runs past it."""
    cursor, ends = 0, {}
    for element in measure:
        if element.tag == "backup":
            cursor -= duration(element)
            assert cursor == 0
        elif element.tag in ("note", "forward") and element.find("chord") is None:
            cursor += duration(element)
            ends[element.findtext("voice")] = cursor
    return ends


@settings(max_examples=examples(40))
@given(rows=ROWS, time=st.none() | TIMES)
def test_every_voice_fills_every_bar_exactly(rows, time):
    score, root = parse(rows, time)
    for part in root.iter("part"):
        measures = part.findall("measure")
        assert len(measures) == len(score.bars)
        for measure, bar in zip(measures, score.bars, strict=True):
            assert set(written_voices(measure).values()) == {bar.end - bar.start}


@settings(max_examples=examples(40))
@given(rows=ROWS, time=st.none() | TIMES)
def test_written_values_are_as_long_as_they_last(rows, time):
    quarters = {"whole": 4, "half": 2, "quarter": 1, "eighth": 0.5, "16th": 0.25, "32nd": 0.125}
    _, root = parse(rows, time)
    for note in root.iter("note"):
        if note.find("type") is None:
            assert note.find("rest").get("measure") == "yes"
            continue
        ticks = 24 * quarters.get(note.findtext("type"), 8)
        ticks *= 1.5 if note.find("dot") is not None else 1
        if (modification := note.find("time-modification")) is not None:
            ticks *= int(modification.findtext("normal-notes"))
            ticks /= int(modification.findtext("actual-notes"))
        assert ticks == duration(note)


@settings(max_examples=examples(40))
@given(rows=ROWS, time=st.none() | TIMES)
@example(rows=[(0.0, 1.0, 27, 0), (0.0, 1.0, 27, 33), (0.0, 1.0, 68, 33)], time=None)
def test_every_pitch_of_every_program_is_written_and_none_is_invented(rows, time):
    notes = to_notes(rows)
    score, root = parse(rows, time)
    gathered = gather_strays(group_tracks(notes))  # notes too high for a bass change their part
    given_pitches = {
        t.program: [n.pitch for n in t.notes] for t in gathered.tracks if not t.is_drum
    }
    assert sorted(itertools.chain(*given_pitches.values())) == sorted(
        note.pitch for note in notes.notes if not note.is_drum
    )
    for part, element in zip(score.parts, root.iter("part"), strict=False):
        if part.is_drum:
            continue
        sounding = [
            written_pitch(note) + part.instrument.transposition.total
            for note in element.iter("note")
            if note.find("pitch") is not None and not has_tie(note, "stop")
        ]
        counts = collections.Counter(sounding)
        expected = collections.Counter(given_pitches[part.program])
        assert set(counts) == set(expected)
        # Fewer only where two notes of one pitch fell on one position.
        assert all(counts[pitch] <= expected[pitch] for pitch in counts)


@settings(max_examples=examples(40))
@given(rows=ROWS, time=st.none() | TIMES)
def test_every_tie_that_starts_stops_at_the_same_pitch(rows, time):
    _, root = parse(rows, time)
    for part in root.iter("part"):
        now, open_ties = 0, {}
        for measure in part.findall("measure"):
            cursor = longest = 0
            for element in measure:
                if element.tag == "backup":
                    cursor -= duration(element)
                elif element.tag == "forward":
                    cursor += duration(element)
                elif element.tag == "note":
                    start = (
                        cursor - duration(element) if element.find("chord") is not None else cursor
                    )
                    end = start + duration(element)
                    key = (element.findtext("voice"), written_name(element))
                    if has_tie(element, "stop"):
                        assert open_ties.pop(key) == now + start
                    if has_tie(element, "start"):
                        assert key not in open_ties
                        open_ties[key] = now + end
                    cursor = end
                longest = max(longest, cursor)
            now += longest
        assert not open_ties


def written_name(note):
    place = note.find("pitch") if note.find("pitch") is not None else note.find("unpitched")
    instrument = note.find("instrument")
    return (
        *((child.tag, child.text) for child in (place if place is not None else [])),
        None if instrument is None else instrument.get("id"),
    )


def has_tie(note, kind):
    return any(tie.get("type") == kind for tie in note.findall("tie"))


def written_pitch(note):
    pitch = note.find("pitch")
    natural = {"C": 0, "D": 2, "E": 4, "F": 5, "G": 7, "A": 9, "B": 11}[pitch.findtext("step")]
    octave = int(pitch.findtext("octave")) + 1
    return 12 * octave + natural + int(pitch.findtext("alter") or 0)
