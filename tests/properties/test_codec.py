"""Properties of the codec: round trips of events, tokens and indices."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mt3_model import spec
from mt3_model.codec.event import Event, EventType
from mt3_model.codec.run_length import STATE_CHANGES, TimedEvent, read_tokens, write_tokens
from mt3_model.codec.vocabulary import SPECIAL_TOKENS, build_codec

CODECS = [build_codec(model.vocabulary) for model in (spec.MT3, spec.ISMIR2021)]
SOUNDS = (EventType.PITCH, EventType.DRUM)


@st.composite
def timed_events(draw: st.DrawFn) -> list[TimedEvent]:
    steps = sorted(draw(st.lists(st.integers(0, 4000), max_size=30)))
    return [
        TimedEvent(
            step=step,
            event=Event(
                type=draw(st.sampled_from((*SOUNDS, *sorted(STATE_CHANGES, key=str)))),
                value=draw(st.integers(0, 1)),
            ),
        )
        for step in steps
    ]


@given(codec=st.sampled_from(CODECS), token=st.integers(-10, 2000))
def test_every_token_with_an_event_comes_back(codec: object, token: int) -> None:
    event = codec.token_to_event(token)
    assert event is None or codec.event_to_token(event) == token


@given(codec=st.sampled_from(CODECS), events=timed_events())
def test_run_lengths_keep_every_sound_with_its_time_and_state(
    codec: object, events: list[TimedEvent]
) -> None:
    read = [
        TimedEvent(step=token.step, event=token.event)
        for token in read_tokens(write_tokens(events, codec), codec)
        if token.event is not None and token.event.type is not EventType.SHIFT
    ]
    assert sounds_in_state(read) == sounds_in_state(events)


@pytest.mark.parametrize("codec", CODECS, ids=["mt3", "ismir2021"])
def test_events_and_tokens_are_one_to_one(codec: object) -> None:
    tokens = range(SPECIAL_TOKENS, SPECIAL_TOKENS + codec.num_events)
    events = [codec.token_to_event(token) for token in tokens]
    assert [codec.event_to_token(event) for event in events] == list(tokens)


def sounds_in_state(events: list[TimedEvent]) -> list[tuple[int, Event, dict[EventType, int]]]:
    state: dict[EventType, int] = {}
    sounds = []
    for timed in events:
        if timed.event.type in STATE_CHANGES:
            state = {**state, timed.event.type: timed.event.value}
        else:
            sounds.append((timed.step, timed.event, state))
    return sounds
