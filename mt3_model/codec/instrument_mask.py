"""The tokens that generation must not choose when the caller names the instruments.

A mask is one boolean per row of the embedding. The end token, shifts and ``tie`` are never
forbidden, so every row always has a token to choose. The mask also applies in the tie section: a
program that is forbidden there cannot continue a note.
"""

import functools

import numpy as np
from jaxtyping import Bool

from mt3_model.codec.event import Event, EventType
from mt3_model.codec.vocabulary import MIDI_MAX, build_codec
from mt3_model.spec import VocabularySpec


@functools.lru_cache(maxsize=256)
def forbid_other_instruments(
    spec: VocabularySpec, *, programs: frozenset[int], has_drums: bool
) -> Bool[np.ndarray, " V"]:
    """Return the tokens of all other instruments.

    Args:
        spec: The model's vocabulary.
        programs: The programs that may sound. Without any, pitches and note-offs are forbidden as
            well, because a pitch without a program event has the program before it.
        has_drums: Whether drums may sound.

    Returns:
        A read-only array ``[V]``, true for each forbidden token.
    """
    codec = build_codec(spec)
    events = [
        Event(type=EventType.PROGRAM, value=program)
        for program in range(MIDI_MAX + 1)
        if program not in programs
    ]
    if not programs:
        events += [Event(type=EventType.PITCH, value=pitch) for pitch in range(MIDI_MAX + 1)]
        events.append(Event(type=EventType.VELOCITY, value=0))
    if not has_drums:
        events += [Event(type=EventType.DRUM, value=key) for key in range(MIDI_MAX + 1)]
    forbidden = np.zeros(codec.embedding_size, np.bool_)
    forbidden[[codec.event_to_token(event) for event in events]] = True
    forbidden.setflags(write=False)
    return forbidden
