from mt3_model import spec
from mt3_model.codec.event import Event, EventType
from mt3_model.codec.run_length import TimedEvent, read_tokens, write_tokens
from mt3_model.codec.vocabulary import build_codec

CODEC = build_codec(spec.MT3.vocabulary)
VELOCITY_ON = 1133
PROGRAM_0 = 1135
MIDDLE_C = 1064


def timed(step: int, event_type: EventType, value: int) -> TimedEvent:
    return TimedEvent(step=step, event=Event(type=event_type, value=value))


def steps_read(tokens: list[int]) -> list[int]:
    return [read.step for read in read_tokens(tokens, CODEC)]


def test_shift_counts_from_the_segments_start() -> None:
    tokens = write_tokens([timed(10, EventType.DRUM, 36), timed(25, EventType.DRUM, 38)], CODEC)
    assert tokens == [3 + 10, 1263 + 36, 3 + 25, 1263 + 38]


def test_event_at_step_0_has_no_shift() -> None:
    assert write_tokens([timed(0, EventType.PITCH, 60)], CODEC) == [MIDDLE_C]


def test_long_shift_is_a_run_that_adds_up() -> None:
    tokens = write_tokens([timed(2300, EventType.PITCH, 60)], CODEC)
    assert tokens == [1003, 1003, 303, MIDDLE_C]
    assert steps_read(tokens) == [1000, 2000, 2300, 2300]


def test_repeated_state_is_not_written() -> None:
    events = [
        timed(0, EventType.PROGRAM, 0),
        timed(0, EventType.VELOCITY, 1),
        timed(0, EventType.PITCH, 60),
        timed(5, EventType.PROGRAM, 0),
        timed(5, EventType.VELOCITY, 1),
        timed(5, EventType.PITCH, 60),
    ]
    assert write_tokens(events, CODEC) == [PROGRAM_0, VELOCITY_ON, MIDDLE_C, 8, MIDDLE_C]


def test_repeated_state_alone_writes_no_shift() -> None:
    events = [timed(0, EventType.VELOCITY, 1), timed(7, EventType.VELOCITY, 1)]
    assert write_tokens(events, CODEC) == [VELOCITY_ON]


def test_any_other_event_ends_a_run_of_shifts() -> None:
    # 10, then an event; 30 counts from the start again, it does not add to 10.
    assert steps_read([13, MIDDLE_C, 33, MIDDLE_C]) == [10, 10, 30, 30]


def test_token_that_is_not_an_event_does_not_end_a_run() -> None:
    # The original's loop skips it before it looks at the run.
    assert steps_read([13, 2, 33]) == [10, 10, 40]


def test_token_that_is_not_an_event_decodes_as_none() -> None:
    assert [read.event for read in read_tokens([0, 1400], CODEC)] == [None, None]
