import pytest

from mt3_model import spec
from mt3_model.errors import CodecError
from mt3_model.notes.encoding import encode_notes
from mt3_model.notes.note import Note, NoteSequence

OFF, ON, TIE, END = 1132, 1133, 1134, 1


def shift(steps: int) -> int:
    return 3 + steps


def pitch(number: int) -> int:
    return 1004 + number


def program(number: int) -> int:
    return 1135 + number


def drum(key: int) -> int:
    return 1263 + key


def note(number: int, start: float, end: float, program: int = 0) -> Note:
    return Note(pitch=number, start_time=start, end_time=end, velocity=90, program=program)


def hit(key: int, start: float) -> Note:
    return Note(pitch=key, start_time=start, end_time=start + 0.01, velocity=90, is_drum=True)


def encode(*notes: Note, segments: int = 1, model: spec.ModelSpec = spec.MT3) -> list[list[int]]:
    sequence = NoteSequence(notes=notes, total_time=max((n.end_time for n in notes), default=0.0))
    encoded = encode_notes(sequence, model, frames=segments * model.segment_frames)
    return [list(segment.tokens) for segment in encoded]


def test_note_is_written_as_onset_and_note_off() -> None:
    assert encode(note(40, 0.1, 0.6, program=33)) == [
        [TIE, shift(10), program(33), ON, pitch(40), shift(60), OFF, pitch(40), END]
    ]


def test_drum_has_no_program_and_no_note_off() -> None:
    assert encode(hit(36, 0.1), hit(38, 0.2)) == [
        [TIE, shift(10), ON, drum(36), shift(20), drum(38), END]
    ]


def test_note_across_the_border_is_tied() -> None:
    # The second segment's first frame is at 2.048 s: its shifts count from step 204.
    assert encode(note(60, 0.0, 2.54), segments=2) == [
        [TIE, program(0), ON, pitch(60), END],
        [program(0), pitch(60), TIE, shift(50), OFF, pitch(60), END],
    ]


def test_tied_notes_come_sorted_by_program_and_pitch() -> None:
    last = encode(
        note(64, 0.0, 3.0, program=40), note(67, 0.0, 3.0), note(60, 0.0, 3.0), segments=2
    )[1]
    tie_section = last[: last.index(TIE)]
    assert tie_section == [program(0), pitch(60), pitch(67), program(40), pitch(64)]


def test_note_that_ends_in_the_borders_step_is_still_tied() -> None:
    # 2.04 s is step 204, the second segment's first: the note-off is its own.
    assert encode(note(60, 0.0, 2.04), segments=2)[1] == [
        program(0),
        pitch(60),
        TIE,
        OFF,
        pitch(60),
        END,
    ]


def test_at_one_time_offsets_come_before_onsets_and_drums_last() -> None:
    tokens = encode(note(60, 0.0, 0.5), hit(36, 0.5), note(60, 0.5, 0.9), note(72, 0.5, 0.9))[0]
    at_half = tokens[tokens.index(shift(50)) + 1 : tokens.index(shift(90))]
    assert at_half == [OFF, pitch(60), ON, pitch(60), pitch(72), drum(36)]


def test_silence_after_the_last_event_lists_the_notes_before_its_step() -> None:
    # Like the original, which keeps listing the notes that sounded before the last event's step.
    assert encode(note(60, 0.0, 1.0), segments=2)[1] == [program(0), pitch(60), TIE, END]


def test_last_segment_holds_all_that_comes_after() -> None:
    assert encode(hit(36, 25.0))[0] == [TIE, 1003, 1003, shift(500), ON, drum(36), END]


def test_recording_without_notes_gives_empty_segments() -> None:
    assert encode(segments=2) == [[TIE, END], [TIE, END]]


def test_times_are_rounded_half_to_even() -> None:
    assert encode(hit(36, 0.125))[0][1] == shift(12)  # 12.5 steps, exact in binary


def test_piano_model_writes_velocities_without_programs_or_ties() -> None:
    velocity_90, velocity_0 = 1132 + 90, 1132
    assert encode(note(60, 0.1, 5.0), segments=2, model=spec.ISMIR2021) == [
        [shift(10), velocity_90, pitch(60), END],
        [shift(91), velocity_0, pitch(60), END],  # step 500 - 409
    ]


def test_segment_starts_are_the_steps_that_shifts_count_from() -> None:
    encoded = encode_notes(NoteSequence(notes=(), total_time=0.0), spec.MT3, frames=16 * 256)
    assert encoded[1].start_time == 2.04
    assert encoded[15].start_time == 30.72  # where the decoder's own start is 30.71


def test_segment_start_is_exact_where_float64_products_are_not() -> None:
    # Segment 145 starts at frame 37,120, 296.96 s; 296.96 * 100 is 29695.999999999996.
    encoded = encode_notes(NoteSequence(notes=(), total_time=0.0), spec.MT3, frames=146 * 256)
    assert encoded[145].start_time == 296.96


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (note(60, 1.0, 1.0), "from 1.0 s to 1.0 s"),
        (note(60, -1.0, 1.0), "expected a start of 0 or more"),
        (Note(pitch=60, start_time=0.0, end_time=1.0, velocity=0), "velocity 0"),
        (note(128, 0.0, 1.0), "expected 0 to 127"),
    ],
)
def test_note_that_cannot_be_encoded_is_rejected(wrong: Note, message: str) -> None:
    with pytest.raises(CodecError, match=message):
        encode(wrong)
