"""Properties of stitching: no note is invented or doubled."""

import collections
import itertools

from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import structs

from mt3_model.notes.decoding import number_instruments
from mt3_model.notes.note import Note, NoteSequence
from mt3_model.postprocessing.stitching import stitch_passes
from tests.examples import examples

SEGMENT_SECONDS = 2.0

notes_of_a_pass = st.lists(
    st.tuples(
        st.booleans(),  # whether it is a drum
        st.sampled_from((0, 4, 40)),  # program
        st.sampled_from((60, 61)),  # pitch
        st.integers(0, 150),  # steps from the end of the same pitch and program
        st.integers(1, 500),  # length in steps
    ),
    max_size=25,
)
starts = st.sampled_from((0.0, 0.3, 60.0))
laws = settings(max_examples=examples(300), derandomize=True)


def sequence(drawn: list[tuple[bool, int, int, int, int]], start: float) -> NoteSequence:
    """Draw notes as the decoder writes them: of one pitch and program no two overlap."""
    ends: dict[tuple[int, int, bool], int] = collections.defaultdict(int)
    notes: list[Note] = []
    for is_drum, program, pitch, gap, length in drawn:
        key = (pitch, 0 if is_drum else program, is_drum)
        begin = ends[key] + gap
        ends[key] = begin + (1 if is_drum else length)
        notes.append(
            Note(
                pitch=pitch,
                start_time=start + begin / 100,
                end_time=start + ends[key] / 100,
                velocity=90,
                program=key[1],
                is_drum=is_drum,
                instrument=9 if is_drum else 0,
            )
        )
    notes.sort(
        key=lambda note: (note.end_time, note.start_time, note.is_drum, note.program, note.pitch)
    )
    return NoteSequence(
        notes=number_instruments(notes),
        total_time=max((note.end_time for note in notes), default=0.0),
    )


def stitch(first: NoteSequence, second: NoteSequence, start: float) -> NoteSequence:
    return stitch_passes(first, second, segment_seconds=SEGMENT_SECONDS, start=start)


@laws
@given(drawn=notes_of_a_pass, start=starts)
def test_identical_passes_give_the_same_notes(drawn, start):
    notes = sequence(drawn, start)
    assert stitch(notes, notes, start) == notes


@laws
@given(one=notes_of_a_pass, other=notes_of_a_pass, start=starts)
def test_every_note_is_an_inputs_and_ends_where_a_note_of_its_pitch_does(one, other, start):
    first, second = sequence(one, start), sequence(other, start)
    begun = collections.Counter(map(_without_end, (*first, *second)))
    stitched = stitch(first, second, start)
    assert not collections.Counter(map(_without_end, stitched)) - begun
    times = collections.defaultdict(set)
    for note in (*first, *second):
        times[note.pitch, note.is_drum] |= {note.start_time, note.end_time}
    for note in stitched:
        assert note.start_time < note.end_time
        assert note.end_time in times[note.pitch, note.is_drum]


@laws
@given(one=notes_of_a_pass, other=notes_of_a_pass, start=starts)
def test_no_note_is_doubled(one, other, start):
    first, second = sequence(one, start), sequence(other, start)
    stitched = stitch(first, second, start)
    by_key = collections.defaultdict(list)
    for note in sorted(stitched, key=lambda note: note.start_time):
        by_key[note.pitch, note.program, note.is_drum].append(note)
    for same in by_key.values():
        for earlier, later in itertools.pairwise(same):
            assert earlier.end_time <= later.start_time


@laws
@given(
    drawn=st.lists(
        st.tuples(st.integers(15, 100), st.integers(5, 300), st.integers(-2, 2), st.integers(0, 9)),
        max_size=20,
    ),
    start=starts,
)
def test_a_note_that_both_passes_have_is_there_once(drawn, start):
    first, second = [], []
    step = 0
    for gap, length, moved, program in drawn:
        begin, step = step + gap, step + gap + length
        for notes, shift, own_program in ((first, 0, 0), (second, moved, program)):
            notes.append(
                Note(
                    pitch=60,
                    start_time=start + (begin + shift) / 100,
                    end_time=start + step / 100,
                    velocity=90,
                    program=own_program,
                )
            )
    first, second = (NoteSequence(notes=tuple(n), total_time=0.0) for n in (first, second))
    assert len(stitch(first, second, start)) == len(drawn)


def _without_end(note: Note) -> Note:
    return structs.replace(note, end_time=0.0, instrument=0)
