import itertools

import numpy as np
import pytest

from mt3_model import spec
from mt3_model.codec.vocabulary import build_codec
from mt3_model.notes.decoding import DecodedNotes, NoteDecoder, SegmentTokens, decode_notes
from mt3_model.notes.note import Note
from mt3_model.spectrogram.segments import segment_start_time

CODEC = build_codec(spec.MT3.vocabulary)
OFF, ON, TIE, END = 1132, 1133, 1134, 1


def shift(steps: int) -> int:
    return 3 + steps


def pitch(number: int) -> int:
    return 1004 + number


def program(number: int) -> int:
    return 1135 + number


def drum(key: int) -> int:
    return 1263 + key


def decode(*segments: tuple[float, list[int]], uses_ties: bool = True) -> DecodedNotes:
    return decode_notes(
        [SegmentTokens(start_time=start, tokens=tokens) for start, tokens in segments],
        CODEC,
        uses_ties=uses_ties,
    )


def spans(decoded: DecodedNotes) -> list[tuple[int, float, float]]:
    return [
        (note.pitch, round(note.start_time, 6), round(note.end_time, 6))
        for note in decoded.notes.notes
    ]


def test_note_lasts_from_onset_to_note_off() -> None:
    decoded = decode((0.0, [TIE, shift(10), program(33), ON, pitch(40), shift(60), OFF, pitch(40)]))
    assert decoded.notes.notes == (
        Note(pitch=40, start_time=0.1, end_time=0.6, velocity=127, program=33),
    )
    assert decoded.notes.total_time == 0.6
    assert decoded.invalid_events == 0


def test_tied_note_goes_on_across_the_border() -> None:
    first = [TIE, ON, pitch(60)]
    second = [pitch(60), TIE, shift(50), OFF, pitch(60)]
    assert spans(decode((0.0, first), (2.04, second))) == [(60, 0.0, 2.54)]


def test_untied_note_ends_at_segment_start() -> None:
    assert spans(decode((0.0, [TIE, ON, pitch(60)]), (2.04, [TIE]))) == [(60, 0.0, 2.04)]


def test_untied_note_ends_at_the_time_of_a_tie_that_shifts_came_before() -> None:
    decoded = decode((0.0, [TIE, ON, pitch(60)]), (2.04, [shift(30), TIE]))
    assert spans(decoded) == [(60, 0.0, 2.34)]


def test_segment_without_tie_stays_a_tie_section_but_drums_sound() -> None:
    decoded = decode((0.0, [ON, pitch(60), drum(36)]))
    assert [note.is_drum for note in decoded.notes.notes] == [True]
    assert decoded.invalid_events == 1  # the pitch was no sounding note's


def test_inactive_and_repeated_tied_pitches_are_invalid() -> None:
    decoded = decode((0.0, [TIE, ON, pitch(60)]), (2.04, [pitch(61), pitch(60), pitch(60), TIE]))
    assert decoded.invalid_events == 2


def test_second_tie_is_invalid() -> None:
    assert decode((0.0, [TIE, TIE])).invalid_events == 1


def test_program_and_velocity_persist_across_segments() -> None:
    decoded = decode((0.0, [TIE, program(40), OFF]), (2.04, [TIE, pitch(60), ON, pitch(60)]))
    assert [note.program for note in decoded.notes.notes] == [40]
    assert decoded.invalid_events == 1  # a note-off of a pitch that does not sound


def test_velocity_is_100_before_the_first_velocity_event() -> None:
    decoded = decode((0.0, [TIE, pitch(60), shift(5), pitch(60)]))
    assert [note.velocity for note in decoded.notes.notes] == [100, 100]


def test_new_onset_of_a_sounding_note_ends_it_first() -> None:
    decoded = decode((0.0, [TIE, ON, pitch(60), shift(20), pitch(60), shift(50), OFF, pitch(60)]))
    assert spans(decoded) == [(60, 0.0, 0.2), (60, 0.2, 0.5)]


def test_same_pitch_of_two_programs_is_two_notes() -> None:
    tokens = [TIE, ON, program(0), pitch(60), program(40), pitch(60), shift(9), OFF, pitch(60)]
    assert [note.program for note in decode((0.0, tokens)).notes.notes] == [40, 0]


def test_note_is_at_least_10_ms_long() -> None:
    assert spans(decode((0.0, [TIE, ON, pitch(60), OFF, pitch(60)]))) == [(60, 0.0, 0.01)]


def test_drum_is_10_ms_of_program_0_and_instrument_9() -> None:
    decoded = decode((0.0, [TIE, program(40), shift(7), ON, drum(36)]))
    assert decoded.notes.notes == (
        Note(
            pitch=36,
            start_time=0.07,
            end_time=0.07 + 0.01,
            velocity=127,
            is_drum=True,
            instrument=9,
        ),
    )


def test_drum_at_velocity_0_is_invalid() -> None:
    decoded = decode((0.0, [TIE, OFF, drum(36)]))
    assert decoded.notes.notes == ()
    assert decoded.invalid_events == 1


def test_instruments_are_numbered_as_notes_end_skipping_9() -> None:
    tokens = [TIE, ON]
    for number in range(11):
        tokens += [program(number), pitch(60)]
    tokens += [shift(10), OFF]
    for number in reversed(range(11)):
        tokens += [program(number), pitch(60)]
    notes = decode((0.0, tokens)).notes.notes
    assert [note.program for note in notes] == [10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0]
    assert [note.instrument for note in notes] == [0, 1, 2, 3, 4, 5, 6, 7, 8, 10, 11]


def test_event_before_the_clock_is_invalid_and_changes_nothing() -> None:
    decoded = decode((0.0, [TIE, ON, shift(50), pitch(60), shift(20), OFF, pitch(60)]))
    assert decoded.invalid_events == 2  # the velocity is not taken either
    assert spans(decoded) == [(60, 0.5, 0.51)]


def test_clock_advances_even_for_an_invalid_event() -> None:
    # The note-off of a silent pitch at 0.5 s moves the clock; the sounding note ends there.
    decoded = decode((0.0, [TIE, ON, pitch(60), shift(50), OFF, pitch(72)]))
    assert spans(decoded) == [(60, 0.0, 0.5)]


def test_shift_past_the_next_start_drops_the_rest() -> None:
    decoded = decode((0.0, [TIE, ON, shift(205), pitch(60), pitch(62), END]), (2.04, [TIE]))
    assert decoded.notes.notes == ()
    assert decoded.dropped_events == 3  # the shift and what follows; the end token is no event


def test_event_exactly_at_the_next_start_is_kept() -> None:
    decoded = decode((0.0, [TIE, ON, shift(204), pitch(60)]), (2.04, [pitch(60), TIE]))
    assert spans(decoded) == [(60, 2.04, 2.05)]


def test_float_noise_drops_an_event_exactly_at_the_next_start() -> None:
    # As the original: 6.140000000000001 + 205 / 100 > 8.19, though 614 + 205 = 819.
    starts = segment_start_time(3, spec.MT3), segment_start_time(4, spec.MT3)
    decoded = decode((starts[0], [TIE, ON, shift(205), pitch(60)]), (starts[1], [TIE]))
    assert decoded.dropped_events == 2


def test_51_of_399_segments_drop_events_exactly_at_the_border() -> None:
    # The count that the original's own arithmetic gives.
    starts = [segment_start_time(index, spec.MT3) for index in range(400)]
    dropping = 0
    for start, following in itertools.pairwise(starts):
        steps = round((following - start) * 100)
        decoded = decode((start, [TIE, ON, shift(steps), drum(36)]), (following, [TIE]))
        dropping += decoded.dropped_events > 0
    assert dropping == 51


def test_last_segment_has_no_limit() -> None:
    assert decode((0.0, [TIE, ON, shift(900), pitch(60)])).dropped_events == 0


def test_segments_are_put_in_order_of_time() -> None:
    decoded = decode((2.04, [pitch(60), TIE]), (0.0, [TIE, ON, pitch(60)]))
    assert decoded.invalid_events == 0


def test_specials_extras_and_unused_rows_are_invalid() -> None:
    assert decode((0.0, [TIE, 0, 2, 1391, 1535, -5, END, 0, 0])).invalid_events == 5


def test_sounding_notes_end_at_the_clock_at_the_end() -> None:
    decoded = decode((0.0, [TIE, ON, pitch(60), shift(70), pitch(64)]))
    # The later onset needs 10 ms, and moves the end of all.
    assert spans(decoded) == [(60, 0.0, 0.71), (64, 0.7, 0.71)]


def test_without_ties_notes_sound_across_the_border() -> None:
    decoded = decode((0.0, [ON, pitch(60)]), (4.09, [shift(20), OFF, pitch(60)]), uses_ties=False)
    assert spans(decoded) == [(60, 0.0, 4.29)]
    assert decoded.invalid_events == 0


def test_without_ties_a_tie_is_invalid() -> None:
    assert decode((0.0, [TIE]), uses_ties=False).invalid_events == 1


def test_confidence_is_the_probability_of_the_onset() -> None:
    tokens = np.array([TIE, ON, pitch(60), drum(36), shift(9), OFF, pitch(60), END], np.int32)
    probabilities = np.array([0.9, 0.9, 0.5, 0.25, 0.9, 0.9, 0.125, 0.9], np.float32)
    decoder = NoteDecoder(CODEC, uses_ties=True)
    finished = decoder.add_segment(
        tokens,
        start_time=0.0,
        next_start_time=None,
        log_probabilities=np.log(probabilities),
    )
    confidences = {note.is_drum: note.confidence for note in finished}
    # float32 logarithms: 1e-6 is a few of their last bits.
    assert confidences == {
        True: pytest.approx(0.25, abs=1e-6),
        False: pytest.approx(0.5, abs=1e-6),
    }


def test_confidence_is_none_for_a_probability_of_nan() -> None:
    tokens = np.array([TIE, ON, drum(36), END], np.int32)
    (note,) = NoteDecoder(CODEC, uses_ties=True).add_segment(
        tokens,
        start_time=0.0,
        next_start_time=None,
        log_probabilities=np.full(4, np.nan, np.float32),
    )
    assert note.confidence is None


def test_confidence_is_absent_without_probabilities() -> None:
    assert decode((0.0, [TIE, ON, pitch(60)])).notes.notes[0].confidence is None


def test_a_segment_returns_the_notes_that_it_ends() -> None:
    decoder = NoteDecoder(CODEC, uses_ties=True)
    first = decoder.add_segment(
        [TIE, ON, pitch(60), pitch(64), shift(9), OFF, pitch(64)],
        start_time=0.0,
        next_start_time=2.04,
    )
    second = decoder.add_segment([TIE], start_time=2.04, next_start_time=None)
    assert [note.pitch for note in first] == [64]
    assert [note.pitch for note in second] == [60]
    assert decoder.finish().notes == first + second


def test_no_segments_give_no_notes() -> None:
    decoded = decode()
    assert decoded.notes.notes == ()
    assert decoded.notes.total_time == 0.0


def decode_two(first: list[int], second: list[int], *, joins_programs: bool) -> list[Note]:
    decoder = NoteDecoder(CODEC, uses_ties=True, joins_programs=joins_programs)
    decoder.add_segment(first, start_time=0.0, next_start_time=2.04)
    decoder.add_segment(second, start_time=2.04, next_start_time=None)
    return sorted(decoder.finish().notes, key=lambda note: note.start_time)


@pytest.mark.parametrize("joins_programs", [False, True])
def test_a_tie_and_a_note_off_under_another_program_find_a_note_only_when_joined(
    joins_programs: bool,
) -> None:
    notes = decode_two(
        [TIE, program(24), ON, pitch(60)],
        [program(4), pitch(60), TIE, shift(50), OFF, pitch(60)],
        joins_programs=joins_programs,
    )
    (note,) = notes
    assert (note.program, note.start_time) == (24, 0.0)
    assert note.end_time == pytest.approx(2.54 if joins_programs else 2.04)


def test_a_tie_that_may_mean_two_notes_joins_neither() -> None:
    notes = decode_two(
        [TIE, program(24), ON, pitch(60), program(33), pitch(60)],
        [program(4), pitch(60), TIE, shift(50), OFF, pitch(60)],
        joins_programs=True,
    )
    assert [note.end_time for note in notes] == [pytest.approx(2.04)] * 2
