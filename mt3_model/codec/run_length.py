"""Timed events <-> tokens, with time as run-length coded shifts.

A shift gives the time since the *start of the segment*, not since the previous event. A time beyond
the longest shift is a run of shifts that add up; any other event ends the run. Velocity and program
hold until they change, so an event that repeats the current value is omitted; each segment starts
without current values. Shifts after the last event are not written.
Source: magenta/mt3 fa04532, run_length_encoding.py ``run_length_encode_shifts_fn`` (writing, with
``state_change_event_types=['velocity', 'program']``, tasks.py), ``decode_events`` (reading).
"""

import dataclasses
from collections.abc import Iterable, Iterator, Sequence

import msgspec

from mt3_model.codec.event import Event, EventType
from mt3_model.codec.vocabulary import EventCodec

STATE_CHANGES = frozenset({EventType.VELOCITY, EventType.PROGRAM})
"""The types whose value holds until the next event of the type."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class TimedEvent:
    """An event and its time."""

    step: int
    """Symbolic steps since the start of the segment."""
    event: Event


class TimedToken(msgspec.Struct, frozen=True, gc=False):
    """A token, its event and its time: a struct, four times as fast to create as a tuple."""

    position: int
    """The token's index in the segment."""
    step: int
    """Symbolic steps since the start of the segment, including the token itself if it is a
    shift."""
    event: Event | None
    """``None`` for a token that is not an event."""


def write_tokens(events: Iterable[TimedEvent], codec: EventCodec) -> list[int]:
    """Encode the events of one segment as tokens, without an end token.

    Args:
        events: The events in order of time, without shifts.
        codec: The model's codec.

    Raises:
        CodecError: An event is outside the codec's ranges.
    """
    tokens: list[int] = []
    current: dict[EventType, int] = {}
    written_step = 0
    for timed in events:
        event = timed.event
        if event.type in STATE_CHANGES:
            if current.get(event.type) == event.value:
                continue
            current[event.type] = event.value
        if timed.step > written_step:
            tokens += _shift_tokens(timed.step, codec)
            written_step = timed.step
        tokens.append(codec.event_to_token(event))
    return tokens


def read_tokens(tokens: Sequence[int], codec: EventCodec) -> Iterator[TimedToken]:
    """Decode tokens one by one, each with its time; shifts are yielded too.

    A token that is not an event neither changes the time nor ends a run of shifts.

    Args:
        tokens: The tokens of one segment before its end token.
        codec: The model's codec.
    """
    step = 0
    run = 0
    for position, token in enumerate(tokens):
        event = codec.token_to_event(token)
        if event is not None:
            if event.type is EventType.SHIFT:
                run += event.value
                step = run
            else:
                run = 0
        yield TimedToken(position, step, event)


def _shift_tokens(step: int, codec: EventCodec) -> list[int]:
    full_shifts, remainder = divmod(step, codec.max_shift_steps)
    values = [codec.max_shift_steps] * full_shifts + [remainder] * (remainder > 0)
    return [codec.event_to_token(Event(type=EventType.SHIFT, value=value)) for value in values]
