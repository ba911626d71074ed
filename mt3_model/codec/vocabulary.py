"""Event <-> event index <-> token, from declared ranges.

The codec numbers the events of all ranges consecutively (shift, pitch, velocity, tie, program,
drum). The network's tokens are these indices plus the three special tokens, followed by unused
extra tokens; the embedding is rounded up (Source: magenta/mt3 fa04532, event_codec.py ``Codec``;
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

Pad, unknown, extras and everything outside the table are not events. The original decodes them as
an invalid index that is counted and skipped; here they decode as ``None``. The end token and
everything after it are removed before decoding.
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
"""The number of special tokens, and so the token of the first event. Source: vocabularies.py
``GenericTokenVocabulary.__init__``."""

EMBEDDING_MULTIPLE = 128
"""The embedding's rows are a multiple of this. Source: vocabularies.py ``num_embeddings``."""

MIDI_MAX = 127
"""The highest MIDI pitch, program and percussion key."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class EventCodec:
    """Converts between events, event indices and tokens. Built by `build_codec`."""

    steps_per_second: int
    """Symbolic steps per second."""
    event_ranges: tuple[EventRange, ...]
    """The ranges in the order of event indices; shift comes first, so its index is its value."""
    extra_tokens: int
    """The number of unused tokens after the events."""
    _events: tuple[Event, ...] = dataclasses.field(init=False, repr=False, compare=False)
    _first_index: Mapping[EventType, int] = dataclasses.field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Number the events, and check that shift comes first and no type is repeated."""
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
        """The number of events: 1,388 for MT3."""
        return len(self._events)

    @property
    def num_tokens(self) -> int:
        """The number of special tokens, events and extra tokens: 1,491 for MT3."""
        return SPECIAL_TOKENS + self.num_events + self.extra_tokens

    @property
    def embedding_size(self) -> int:
        """The number of rows of the embedding, V: 1,536 for MT3."""
        return -(-self.num_tokens // EMBEDDING_MULTIPLE) * EMBEDDING_MULTIPLE

    @property
    def max_shift_steps(self) -> int:
        """The longest shift of one event, in steps."""
        return self.event_ranges[0].max_value

    @property
    def velocity_bins(self) -> int:
        """The number of velocity bins above zero."""
        velocities = self._range(EventType.VELOCITY)
        return velocities.max_value - velocities.min_value

    def event_to_index(self, event: Event) -> int:
        """Return the index of an event, 0 .. ``num_events - 1``.

        Raises:
            CodecError: The event is outside the codec's ranges.
        """
        event_range = self._range(event.type)
        if not event_range.min_value <= event.value <= event_range.max_value:
            raise CodecError(
                f"{event.type.value} event has value {event.value}; expected "
                f"{event_range.min_value} to {event_range.max_value}"
            )
        return self._first_index[event.type] + event.value - event_range.min_value

    def event_to_token(self, event: Event) -> int:
        """Return the token of an event.

        Raises:
            CodecError: The event is outside the codec's ranges.
        """
        return self.event_to_index(event) + SPECIAL_TOKENS

    def token_to_event(self, token: int) -> Event | None:
        """Return the event of a token; ``None`` for every token that is not an event."""
        index = token - SPECIAL_TOKENS
        return self._events[index] if 0 <= index < len(self._events) else None

    def _range(self, event_type: EventType) -> EventRange:
        for event_range in self.event_ranges:
            if event_range.type is event_type:
                return event_range
        raise CodecError(f"the codec has no {event_type.value} events")


@functools.cache
def build_codec(spec: VocabularySpec) -> EventCodec:
    """Build the codec of a vocabulary. Source: vocabularies.py ``build_codec``."""
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
    """Return the tokens before the first end token, or all. Source: tasks.py ``trim_eos``."""
    integers = [int(token) for token in tokens]
    return integers[: integers.index(END_TOKEN)] if END_TOKEN in integers else integers
