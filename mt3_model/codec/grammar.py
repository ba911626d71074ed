"""The grammar of token sequences: a finite automaton that accepts what the encoder can write.

Training targets follow rules: a tie section comes before events, a velocity before the first note,
shifts only before events, and a state change is never repeated. The automaton represents these
rules as two tables for use on a device: ``allowed [G, V]`` and ``next [G, V]``, with V the rows of
the embedding. Its state is the kind of the previous token, whether a program has been given, and
whether the velocity is unset, off or on.

Rules that would need large tables are not included: shifts grow, programs and pitches of a tie
section are sorted, a program differs from the one before, a note-off belongs to a sounding note. So
the automaton accepts everything the encoder writes, and rejects most other sequences.
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
    """``[G, V]``, whether a token is allowed in a state."""
    next: Int32[np.ndarray, "G V"]
    """``[G, V]``, the state after a token; tokens that are not allowed keep the state."""
    start: int
    """The state at the start of a segment."""
    end: int
    """The state after the end token, which allows only pad."""

    def first_rejected(self, tokens: Iterable[int]) -> int | None:
        """Return the position of the first token that is not allowed; ``None`` if all are."""
        state = self.start
        for position, token in enumerate(tokens):
            if not self.allowed[state, token]:
                return position
            state = int(self.next[state, token])
        return None


class _Previous(enum.Enum):
    """The kind of the previous token."""

    TIE_HEAD = enum.auto()
    TIE_PROGRAM = enum.auto()
    TIE_PITCH = enum.auto()
    BETWEEN = enum.auto()
    """At the start of the events, or after a pitch or drum: the segment may end here."""
    SHIFTED = enum.auto()
    FULLY_SHIFTED = enum.auto()
    """After the longest shift: more of the run may follow."""
    PROGRAM = enum.auto()
    VELOCITY = enum.auto()
    PROGRAM_VELOCITY = enum.auto()
    """After a program and a velocity: only a pitch can follow."""
    ENDED = enum.auto()


class _Velocity(enum.Enum):
    NONE = enum.auto()
    OFF = enum.auto()
    ON = enum.auto()


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class _State:
    previous: _Previous
    velocity: _Velocity = _Velocity.NONE
    has_program: bool = False


@functools.cache
def build_grammar(spec: VocabularySpec) -> Grammar:
    """Build the tables for a vocabulary by visiting every state reachable from the start."""
    codec = build_codec(spec)
    start = _State(
        previous=_Previous.TIE_HEAD if spec.uses_ties else _Previous.BETWEEN,
        # Without program events, a pitch needs no program before it.
        has_program=spec.program_granularity == "flat",
    )
    numbers = {start: 0}
    pending = [start]
    edges: list[tuple[int, int, int]] = []
    for state in pending:
        for token in range(codec.num_tokens):
            following = _next_state(state, token, codec, spec)
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


_ENDED = _State(previous=_Previous.ENDED)
_MAY_END = frozenset({_Previous.BETWEEN})
_TIE_STATES = frozenset({_Previous.TIE_HEAD, _Previous.TIE_PROGRAM, _Previous.TIE_PITCH})
_EVENT_HEADS = frozenset({_Previous.BETWEEN, _Previous.SHIFTED, _Previous.FULLY_SHIFTED})
"""The states that allow the first event of a note or drum."""


def _next_state(
    state: _State, token: int, codec: EventCodec, spec: VocabularySpec
) -> _State | None:
    """Return the state after a token, or ``None`` if the token is not allowed."""
    if state.previous is _Previous.ENDED:
        return _ENDED if token == PAD_TOKEN else None
    if token == END_TOKEN:
        return _ENDED if state.previous in _MAY_END else None
    event = codec.token_to_event(token)
    if event is None:
        return None
    if map_program_event(event, spec.program_granularity) != event:
        return None  # this granularity does not use the program
    if state.previous in _TIE_STATES:
        return _next_in_tie_section(state, event)
    return _next_in_events(state, event, codec)


def _next_in_tie_section(state: _State, event: Event) -> _State | None:
    match event.type:
        case EventType.PROGRAM if state.previous is not _Previous.TIE_PROGRAM:
            return _State(previous=_Previous.TIE_PROGRAM, has_program=True)
        case EventType.PITCH if state.has_program:
            return _State(previous=_Previous.TIE_PITCH, has_program=True)
        case EventType.TIE if state.previous is not _Previous.TIE_PROGRAM:
            return dataclasses.replace(state, previous=_Previous.BETWEEN)
        case _:
            return None


def _next_in_events(state: _State, event: Event, codec: EventCodec) -> _State | None:
    match event.type:
        case EventType.SHIFT:
            return _next_after_shift(state, event, codec)
        case EventType.PROGRAM if state.previous in _EVENT_HEADS:
            return dataclasses.replace(state, previous=_Previous.PROGRAM, has_program=True)
        case EventType.VELOCITY:
            return _next_after_velocity(state, event, codec)
        case EventType.PITCH if state.has_program and state.velocity is not _Velocity.NONE:
            return dataclasses.replace(state, previous=_Previous.BETWEEN)
        case EventType.DRUM if state.velocity is _Velocity.ON and state.previous not in (
            _Previous.PROGRAM,
            _Previous.PROGRAM_VELOCITY,
        ):
            return dataclasses.replace(state, previous=_Previous.BETWEEN)
        case _:
            return None


def _next_after_shift(state: _State, event: Event, codec: EventCodec) -> _State | None:
    if event.value == 0 or state.previous not in (_Previous.BETWEEN, _Previous.FULLY_SHIFTED):
        return None
    full = event.value == codec.max_shift_steps
    return dataclasses.replace(
        state, previous=_Previous.FULLY_SHIFTED if full else _Previous.SHIFTED
    )


def _next_after_velocity(state: _State, event: Event, codec: EventCodec) -> _State | None:
    """Follow a velocity, which is given only where it changes, before its pitch or drum."""
    velocity = _Velocity.ON if event.value else _Velocity.OFF
    repeats = velocity is state.velocity and (velocity is _Velocity.OFF or codec.velocity_bins == 1)
    if repeats:
        return None
    if state.previous is _Previous.PROGRAM:
        return dataclasses.replace(state, previous=_Previous.PROGRAM_VELOCITY, velocity=velocity)
    if state.previous not in _EVENT_HEADS:
        return None
    if velocity is _Velocity.OFF and not state.has_program:
        return None  # a drum has no note-off, and a pitch would need a program before it
    return dataclasses.replace(state, previous=_Previous.VELOCITY, velocity=velocity)
