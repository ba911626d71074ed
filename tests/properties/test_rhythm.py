"""Properties of the rhythm for any notes: beats increase and cover them, and MIDI keeps their
times."""

import io
import itertools

import pretty_midi
from hypothesis import given, settings
from hypothesis import strategies as st

from mt3_model.export.midi import to_midi
from mt3_model.notes.note import Note, NoteSequence
from mt3_model.notes.rhythm_options import KnownRhythm
from mt3_model.rhythm.estimation import estimate_musical_time
from mt3_model.rhythm.quantizing import quantize_notes, quantized_tempo
from tests.examples import examples

MILLISECOND = 0.001


Drawn = tuple[int, list[tuple[int, int, int, bool]]]
# Steps of 10 ms: the first onset; then gap, length, pitch and whether it is a drum, of each note.
drawings = st.tuples(
    st.integers(0, 500),
    st.lists(
        st.tuples(
            st.one_of(st.integers(0, 60), st.integers(0, 3_000)),
            st.integers(1, 400),
            st.integers(30, 90),
            st.booleans(),
        ),
        min_size=1,
        max_size=60,
    ),
)


def build(drawn: Drawn) -> NoteSequence:
    """Return the notes of a drawing; made in the test, because Hypothesis forbids what the type
    checks do while it draws."""
    now, notes = drawn[0], []
    for gap, length, pitch, is_drum in drawn[1]:
        now += gap
        notes.append(
            Note(
                pitch=pitch,
                start_time=now / 100,
                end_time=(now + length) / 100,
                velocity=100,
                is_drum=is_drum,
                instrument=9 if is_drum else 0,
            )
        )
    return NoteSequence(notes=tuple(notes), total_time=max(n.end_time for n in notes))


tempi = st.one_of(st.none(), st.sampled_from(["half", "double"]), st.floats(20.0, 400.0))


@settings(max_examples=examples(60))
@given(drawn=drawings, tempo=tempi, downbeat=st.one_of(st.none(), st.floats(0.0, 60.0)))
def test_beats_increase_and_cover_the_notes(drawn, tempo, downbeat):
    notes = build(drawn)
    time = estimate_musical_time(notes, KnownRhythm(tempo=tempo, first_downbeat=downbeat))
    if time is None:
        assert not isinstance(tempo, float)
        return
    assert all(a < b for a, b in itertools.pairwise(time.beat_times))
    assert time.beat_times[0] <= min(n.start_time for n in notes.notes) + 1e-6
    assert time.beat_times[-1] >= max(n.end_time for n in notes.notes) - 1e-6
    assert 0 <= time.first_downbeat < time.time_signature.beats_per_bar
    assert 0.0 <= time.tempo_confidence <= 1.0
    assert 0.0 <= time.meter_confidence <= 1.0


@settings(max_examples=examples(40))
@given(drawn=drawings, tempo=st.one_of(st.none(), st.floats(60.0, 300.0)))
def test_a_note_keeps_its_onset_in_midi(drawn, tempo):
    notes = build(drawn)
    time = estimate_musical_time(notes, KnownRhythm(tempo=tempo))
    read = pretty_midi.PrettyMIDI(io.BytesIO(to_midi(notes, time=time)))
    onsets = sorted({n.start_time for n in notes.notes})
    found = [n.start for i in read.instruments for n in i.notes]
    for start in found:
        assert min(abs(start - onset) for onset in onsets) <= MILLISECOND
    for onset in onsets:
        assert min(abs(start - onset) for start in found) <= MILLISECOND


@settings(max_examples=examples(40))
@given(drawn=drawings, tempo=st.floats(60.0, 300.0), grid=st.sampled_from([1, 2, 3, 4, 6, 8]))
def test_quantized_notes_lie_on_the_grid(drawn, tempo, grid):
    notes = build(drawn)
    time = estimate_musical_time(notes, KnownRhythm(tempo=tempo))
    assert time is not None
    moved, end = quantize_notes(notes, time, grid)
    step = 60 / quantized_tempo(time) / grid
    for note in moved.notes:
        assert abs(note.start_time / step - round(note.start_time / step)) < 1e-6
        assert note.end_time >= note.start_time + step * (1 - 1e-9)
        assert -1e-9 <= note.start_time < note.end_time <= end + 1e-6
