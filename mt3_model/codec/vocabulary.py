"""Event <-> event index <-> token, from declared ranges.

The codec numbers all events of all ranges in one row (shift, pitch, velocity, tie, program,
drum); the network's tokens are those numbers moved up by the three special tokens, with unused
extras behind and the embedding rounded up (Source: magenta/mt3 fa04532, event_codec.py ``Codec``;
vocabularies.py ``build_codec``, ``GenericTokenVocabulary``, ``num_embeddings``):

    token          MT3          ISMIR 2021
    pad            0            0
    end (EOS)      1            1
    unknown        2            2
    shift          3-1003       3-1003
    pitch          1004-1131    1004-1131
    velocity       1132-1133    1132-1259
    tie            1134         1260
    program        1135-1262    1261-1388
    drum           1263-1390    1389-1516
    extras         1391-1490    1517-1616
    embedding      1536         1664

Pad, unknown, extras and everything outside are no events: the original turns them into an invalid
index that is counted and skipped, so here they read as ``None``. The end token and whatever
follows it are cut off first.
"""

import dataclasses
import functools
from collections.abc import Mapping, Sequence
from types import MappingProxyType

import numpy as np
from jaxtyping import Int

from mt3_model.codec.event import Event, EventRange, EventType
from mt3_model.errors import CodecError
from mt3_model.spec import VocabularySpec

PAD_TOKEN = 0
END_TOKEN = 1
UNKNOWN_TOKEN = 2
SPECIAL_TOKENS = 3
"""The first event's token. Source: vocabularies.py ``GenericTokenVocabulary.__init__``."""

EMBEDDING_MULTIPLE = 128
"""The embedding has a multiple of so many rows. Source: vocabularies.py ``num_embeddings``."""

MIDI_MAX = 127
"""Highest MIDI pitch, program and percussion key."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class EventCodec:
    """The numbering of events. Made by `build_codec`."""

    steps_per_second: int
    """Symbolic steps in a second: one shift step is its inverse."""
    event_ranges: tuple[EventRange, ...]
    """In the order of numbering; shift comes first, so that its index is its value."""
    extra_tokens: int
    """Unused tokens behind the events."""
    _events: tuple[Event, ...] = dataclasses.field(init=False, repr=False, compare=False)
    _first_index: Mapping[EventType, int] = dataclasses.field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Numbers the events, and refuses ranges that cannot be told apart."""
        types = [event_range.type for event_range in self.event_ranges]
        if types[:1] != [EventType.SHIFT] or len(set(types)) != len(types):
            raise CodecError(
                f"event ranges are {[event_type.value for event_type in types]}; "
                "expected shift first and every type once"
            )
        events: list[Event] = []
        first_index: dict[EventType, int] = {}
        for event_range in self.event_ranges:
            first_index[event_range.type] = len(events)
            events += [
                Event(type=event_range.type, value=value)
                for value in range(event_range.min_value, event_range.max_value + 1)
            ]
        object.__setattr__(self, "_events", tuple(events))
        object.__setattr__(self, "_first_index", MappingProxyType(first_index))

    @property
    def num_events(self) -> int:
        """Event indices: 1,388 for MT3."""
        return len(self._events)

    @property
    def num_tokens(self) -> int:
        """Special tokens, events and extras: 1,491 for MT3."""
        return SPECIAL_TOKENS + self.num_events + self.extra_tokens

    @property
    def embedding_size(self) -> int:
        """Rows of the embedding, V: 1,536 for MT3."""
        return -(-self.num_tokens // EMBEDDING_MULTIPLE) * EMBEDDING_MULTIPLE

    @property
    def max_shift_steps(self) -> int:
        """The longest shift that one event can say."""
        return self.event_ranges[0].max_value

    @property
    def velocity_bins(self) -> int:
        """Velocity bins above zero."""
        velocities = self._range(EventType.VELOCITY)
        return velocities.max_value - velocities.min_value

    def event_to_index(self, event: Event) -> int:
        """Gives the event's index, 0 .. ``num_events - 1``.

        Raises:
            CodecError: The codec has no such event.
        """
        event_range = self._range(event.type)
        if not event_range.min_value <= event.value <= event_range.max_value:
            raise CodecError(
                f"{event.type.value} event has value {event.value}; expected "
                f"{event_range.min_value} to {event_range.max_value}"
            )
        return self._first_index[event.type] + event.value - event_range.min_value

    def index_to_event(self, index: int) -> Event:
        """Gives the event of an index.

        Raises:
            CodecError: The index is not one of the codec's.
        """
        if not 0 <= index < self.num_events:
            raise CodecError(f"event index is {index}; expected 0 to {self.num_events - 1}")
        return self._events[index]

    def event_to_token(self, event: Event) -> int:
        """Gives the network's token of an event. Raises `CodecError` as `event_to_index`."""
        return self.event_to_index(event) + SPECIAL_TOKENS

    def token_to_event(self, token: int) -> Event | None:
        """Gives the event of a token; ``None`` for pad, end, unknown, extras and the rest."""
        index = token - SPECIAL_TOKENS
        return self._events[index] if 0 <= index < len(self._events) else None

    def token_range(self, event_type: EventType) -> range:
        """Gives the tokens of one type."""
        first = self._first_index[event_type] + SPECIAL_TOKENS
        return range(first, first + self._range(event_type).size)

    def _range(self, event_type: EventType) -> EventRange:
        for event_range in self.event_ranges:
            if event_range.type is event_type:
                return event_range
        raise CodecError(f"the codec has no {event_type.value} events")


@functools.cache
def build_codec(spec: VocabularySpec) -> EventCodec:
    """Builds the codec of a published model. Source: vocabularies.py ``build_codec``."""
    return EventCodec(
        steps_per_second=spec.steps_per_second,
        event_ranges=(
            EventRange(type=EventType.SHIFT, min_value=0, max_value=spec.max_shift_steps),
            EventRange(type=EventType.PITCH, min_value=0, max_value=MIDI_MAX),
            EventRange(type=EventType.VELOCITY, min_value=0, max_value=spec.velocity_bins),
            EventRange(type=EventType.TIE, min_value=0, max_value=0),
            EventRange(type=EventType.PROGRAM, min_value=0, max_value=MIDI_MAX),
            EventRange(type=EventType.DRUM, min_value=0, max_value=MIDI_MAX),
        ),
        extra_tokens=spec.extra_tokens,
    )


def tokens_before_end(tokens: Sequence[int] | Int[np.ndarray, " _"]) -> list[int]:
    """Cuts off the first end token and what follows. Source: tasks.py ``trim_eos``."""
    listed = [int(token) for token in tokens]
    return listed[: listed.index(END_TOKEN)] if END_TOKEN in listed else listed
