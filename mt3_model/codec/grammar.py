"""Which token may follow which: an automaton of what the published encoder can write.

The network was trained on tokens that obey rules it cannot be seen to break in its targets: a tie
section before events, a velocity before the first note, shifts only before events, no state
change said twice. The automaton states them as two tables so that a device can look them up:
``allowed [G, V]`` and ``next [G, V]``, with V the rows of the embedding. It knows the kind of
token before, whether a program has been said, and whether the velocity is none, off or on.

What it leaves out, because tables of it would be large: that shifts grow, that programs and
pitches of a tie section come sorted, that a program differs from the one before, that a note-off
belongs to a sounding note. So it accepts all the encoder writes and refuses much that it cannot.
Derived from magenta/mt3 fa04532: note_sequences.py ``note_event_data_to_events``,
``note_encoding_state_to_events``; run_length_encoding.py ``run_length_encode_shifts_fn``.
"""

import dataclasses
import enum
import functools
from collections.abc import Iterable

import numpy as np
from jaxtyping import Bool, Int32

from mt3_model.codec.event import Event, EventType
from mt3_model.codec.program import map_program_event
from mt3_model.codec.vocabulary import END_TOKEN, PAD_TOKEN, EventCodec, build_codec
from mt3_model.spec import VocabularySpec


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Grammar:
    """The automaton as tables."""

    allowed: Bool[np.ndarray, "G V"]
    """Whether a token may come in a state."""
    next: Int32[np.ndarray, "G V"]
    """The state after it; where a token is not allowed, the state stays as it is."""
    start: int
    """The state at a segment's head."""
    end: int
    """The state after the end token, where only pad may come."""

    def first_refused(self, tokens: Iterable[int]) -> int | None:
        """Gives the position of the first token that may not come; ``None`` if all may."""
        state = self.start
        for position, token in enumerate(tokens):
            if not self.allowed[state, token]:
                return position
            state = int(self.next[state, token])
        return None


class _Place(enum.Enum):
    """What came just before."""

    TIE_HEAD = enum.auto()
    TIE_PROGRAM = enum.auto()
    TIE_PITCH = enum.auto()
    BETWEEN = enum.auto()
    """At the head of the events, or after a pitch or drum: the segment may end here."""
    SHIFTED = enum.auto()
    FULLY_SHIFTED = enum.auto()
    """After the longest shift: more of the run may follow."""
    PROGRAM = enum.auto()
    VELOCITY = enum.auto()
    PROGRAM_VELOCITY = enum.auto()
    """After a velocity that a program came before: only a pitch can follow."""
    ENDED = enum.auto()


class _Velocity(enum.Enum):
    NONE = enum.auto()
    OFF = enum.auto()
    ON = enum.auto()


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class _State:
    place: _Place
    velocity: _Velocity = _Velocity.NONE
    has_program: bool = False


@functools.cache
def build_grammar(spec: VocabularySpec) -> Grammar:
    """Builds the tables for a vocabulary by walking every state reachable from the start."""
    codec = build_codec(spec)
    start = _State(
        place=_Place.TIE_HEAD if spec.uses_ties else _Place.BETWEEN,
        # Without program events there is nothing to say before a pitch.
        has_program=spec.program_granularity == "flat",
    )
    numbers = {start: 0}
    pending = [start]
    edges: list[tuple[int, int, int]] = []
    for state in pending:
        for token in range(codec.num_tokens):
            following = _follow(state, token, codec, spec)
            if following is None:
                continue
            if following not in numbers:
                numbers[following] = len(numbers)
                pending.append(following)
            edges.append((numbers[state], token, numbers[following]))
    allowed = np.zeros((len(numbers), codec.embedding_size), np.bool_)
    after = np.tile(np.arange(len(numbers), dtype=np.int32)[:, None], (1, codec.embedding_size))
    for state_number, token, following_number in edges:
        allowed[state_number, token] = True
        after[state_number, token] = following_number
    return Grammar(allowed=allowed, next=after, start=0, end=numbers[_ENDED])


_ENDED = _State(place=_Place.ENDED)
_MAY_END = frozenset({_Place.BETWEEN})
_TIE_PLACES = frozenset({_Place.TIE_HEAD, _Place.TIE_PROGRAM, _Place.TIE_PITCH})
_EVENT_HEADS = frozenset({_Place.BETWEEN, _Place.SHIFTED, _Place.FULLY_SHIFTED})
"""Where a note's or drum's first event may stand."""


def _follow(state: _State, token: int, codec: EventCodec, spec: VocabularySpec) -> _State | None:
    """Gives the state after a token, ``None`` where the token may not come."""
    if state.place is _Place.ENDED:
        return _ENDED if token == PAD_TOKEN else None
    if token == END_TOKEN:
        return _ENDED if state.place in _MAY_END else None
    event = codec.token_to_event(token)
    if event is None:
        return None
    if map_program_event(event, spec.program_granularity) != event:
        return None  # a program that this granularity does not say
    if state.place in _TIE_PLACES:
        return _follow_tie_section(state, event)
    return _follow_events(state, event, codec)


def _follow_tie_section(state: _State, event: Event) -> _State | None:
    match event.type:
        case EventType.PROGRAM if state.place is not _Place.TIE_PROGRAM:
            return _State(place=_Place.TIE_PROGRAM, has_program=True)
        case EventType.PITCH if state.has_program:
            return _State(place=_Place.TIE_PITCH, has_program=True)
        case EventType.TIE if state.place is not _Place.TIE_PROGRAM:
            return dataclasses.replace(state, place=_Place.BETWEEN)
        case _:
            return None


def _follow_events(state: _State, event: Event, codec: EventCodec) -> _State | None:
    match event.type:
        case EventType.SHIFT:
            return _follow_shift(state, event, codec)
        case EventType.PROGRAM if state.place in _EVENT_HEADS:
            return dataclasses.replace(state, place=_Place.PROGRAM, has_program=True)
        case EventType.VELOCITY:
            return _follow_velocity(state, event, codec)
        case EventType.PITCH if state.has_program and state.velocity is not _Velocity.NONE:
            return dataclasses.replace(state, place=_Place.BETWEEN)
        case EventType.DRUM if state.velocity is _Velocity.ON and state.place not in (
            _Place.PROGRAM,
            _Place.PROGRAM_VELOCITY,
        ):
            return dataclasses.replace(state, place=_Place.BETWEEN)
        case _:
            return None


def _follow_shift(state: _State, event: Event, codec: EventCodec) -> _State | None:
    if event.value == 0 or state.place not in (_Place.BETWEEN, _Place.FULLY_SHIFTED):
        return None
    full = event.value == codec.max_shift_steps
    return dataclasses.replace(state, place=_Place.FULLY_SHIFTED if full else _Place.SHIFTED)


def _follow_velocity(state: _State, event: Event, codec: EventCodec) -> _State | None:
    """A velocity comes where it changes, before the pitch or drum it is for."""
    velocity = _Velocity.ON if event.value else _Velocity.OFF
    repeats = velocity is state.velocity and (velocity is _Velocity.OFF or codec.velocity_bins == 1)
    if repeats:
        return None
    if state.place is _Place.PROGRAM:
        return dataclasses.replace(state, place=_Place.PROGRAM_VELOCITY, velocity=velocity)
    if state.place not in _EVENT_HEADS:
        return None
    if velocity is _Velocity.OFF and not state.has_program:
        return None  # a drum has no note-off, and a pitch would need a program first
    return dataclasses.replace(state, place=_Place.VELOCITY, velocity=velocity)
