"""Properties of notes and tokens: round trips, and decoding that never raises an error."""

import collections

from hypothesis import given
from hypothesis import strategies as st

from mt3_model import spec
from mt3_model.codec.vocabulary import build_codec
from mt3_model.notes.decoding import SegmentTokens, decode_notes
from mt3_model.notes.encoding import encode_notes
from mt3_model.notes.note import Note, NoteSequence
from mt3_model.notes.trimming import trim_overlapping_notes
from mt3_model.spectrogram.segments import segment_start_time
from tests.properties.single_step_targets import reference_targets

FRAMES = 600
LAST_STEP = 600
PIANO = spec.ISMIR2021

models = st.sampled_from((spec.MT3, PIANO))


@st.composite
def note_lists(draw: st.DrawFn, *, on_steps: bool) -> list[Note]:
    """Draw overlapping notes of few pitches and programs; some end after the recording."""
    notes = []
    for _ in range(draw(st.integers(0, 20))):
        start = draw(st.integers(0, LAST_STEP)) / 100
        end = start + draw(st.integers(1, 300)) / 100
        if on_steps:
            start, end = round(start, 2), round(end, 2)
        else:
            start += draw(st.floats(0, 0.01))
            end += draw(st.floats(0, 0.01)) + 0.01
        notes.append(
            Note(
                pitch=draw(st.integers(59, 62)),
                start_time=start,
                end_time=end,
                velocity=draw(st.integers(1, 127)),
                program=draw(st.sampled_from((0, 1, 40))),
                is_drum=draw(st.booleans()),
            )
        )
    return notes


@given(drawn=note_lists(on_steps=True))
def test_notes_on_steps_come_back_from_tokens(drawn: list[Note]) -> None:
    notes = trimmed(drawn)
    decoded = decode(notes, spec.MT3)
    assert decoded == collections.Counter(
        (n.pitch, 0 if n.is_drum else n.program, n.is_drum, steps(n.start_time), end_step(n), 127)
        for n in notes.notes
    )


@given(drawn=note_lists(on_steps=True))
def test_piano_notes_come_back_with_their_velocities(drawn: list[Note]) -> None:
    piano = trimmed([note for note in drawn if note.program == 0 or note.is_drum])
    assert decode(piano, PIANO) == collections.Counter(
        (n.pitch, 0, n.is_drum, steps(n.start_time), end_step(n), n.velocity) for n in piano.notes
    )


@given(drawn=note_lists(on_steps=False), model=models, frames=st.integers(1, FRAMES))
def test_tokens_equal_those_of_the_single_step_procedure(
    drawn: list[Note], model: spec.ModelSpec, frames: int
) -> None:
    notes = trimmed(drawn)
    if not notes.notes:
        return  # the original has no tie section for a recording without notes
    ours = [list(segment.tokens) for segment in encode_notes(notes, model, frames=frames)]
    theirs = [
        [*(index + 3 for index in targets), 1]
        for targets in reference_targets(notes, model, frames)
    ]
    assert ours == theirs


@given(
    recording=st.lists(
        st.lists(
            st.one_of(
                st.integers(-5, 2000),
                st.sampled_from((1064, 1065, 1132, 1133, 1134, 1135, 1175, 1299, 13, 207)),
            ),
            max_size=60,
        ),
        max_size=4,
    ),
    model=models,
)
def test_decoder_never_raises_and_its_notes_are_sound(
    recording: list[list[int]], model: spec.ModelSpec
) -> None:
    segments = [
        SegmentTokens(start_time=segment_start_time(index, model), tokens=tokens)
        for index, tokens in enumerate(recording)
    ]
    decoded = decode_notes(
        segments, build_codec(model.vocabulary), uses_ties=model.vocabulary.uses_ties
    )
    for note in decoded.notes.notes:
        assert 0 <= note.start_time < note.end_time <= decoded.notes.total_time
        assert 1 <= note.velocity <= 127
        assert note.is_drum == (note.instrument == 9)
    assert 0 <= decoded.invalid_events + decoded.dropped_events <= sum(map(len, recording))


def trimmed(notes: list[Note]) -> NoteSequence:
    total_time = max((note.end_time for note in notes), default=0.0)
    return trim_overlapping_notes(NoteSequence(notes=tuple(notes), total_time=total_time))


def decode(notes: NoteSequence, model: spec.ModelSpec) -> collections.Counter:
    encoded = encode_notes(notes, model, frames=FRAMES)
    decoded = decode_notes(
        encoded, build_codec(model.vocabulary), uses_ties=model.vocabulary.uses_ties
    )
    assert decoded.dropped_events == 0
    return collections.Counter(
        (n.pitch, n.program, n.is_drum, steps(n.start_time), steps(n.end_time), n.velocity)
        for n in decoded.notes.notes
    )


def steps(seconds: float) -> int:
    return round(seconds * 100)


def end_step(note: Note) -> int:
    return steps(note.start_time) + 1 if note.is_drum else steps(note.end_time)
