"""A backend whose answer can be worked out by hand: for tests, and for `MT3_BACKEND=fake`.

It looks at each segment's index only. Segment i says, in the model's own language:

    tie; velocity on, program 0 (piano), pitch 60 + i % 12 at the segment's start;
    drum 36 (bass drum) at +0.5 s; the piano's pitch off at +1 s; end.

So three seconds of audio, two segments at 0 s and 2.04 s (2.048 rounded down to a step), give::

    piano C4   0.00 - 1.00        drum 36   0.50 - 0.51
    piano C#4  2.04 - 3.04        drum 36   2.54 - 2.55

Every token has probability 1/2.
"""

import math
from collections.abc import Sequence

import numpy as np

from mt3_model.codec.event import Event, EventType
from mt3_model.codec.vocabulary import END_TOKEN, build_codec
from mt3_model.notes.generated import GeneratedSegment
from mt3_model.notes.transcription import Decoding
from mt3_model.spec import ModelSpec
from mt3_model.spectrogram.segments import Segment

_HALF_SECOND_STEPS = 50
_BASS_DRUM = 36
_MIDDLE_C = 60
_SEMITONES = 12


class FakeBackend:
    """Answers at once, without a device."""

    def __init__(self, spec: ModelSpec, *, batch_size: int = 4) -> None:
        self.batch_size = batch_size
        self._spec = spec
        self._codec = build_codec(spec.vocabulary)

    def warm_up(self, decoding: Decoding) -> None:
        """Has nothing to warm."""

    def generate(self, segments: Sequence[Segment], decoding: Decoding) -> list[GeneratedSegment]:
        """Writes the pattern of the module's docstring, whatever the decoding."""
        del decoding
        return [self._generate_one(segment.index) for segment in segments]

    def _generate_one(self, index: int) -> GeneratedSegment:
        pitch = Event(type=EventType.PITCH, value=_MIDDLE_C + index % _SEMITONES)
        events = [
            Event(type=EventType.VELOCITY, value=self._codec.velocity_bins),
            Event(type=EventType.PROGRAM, value=0),
            pitch,
            Event(type=EventType.SHIFT, value=_HALF_SECOND_STEPS),
            Event(type=EventType.DRUM, value=_BASS_DRUM),
            Event(type=EventType.SHIFT, value=2 * _HALF_SECOND_STEPS),
            Event(type=EventType.VELOCITY, value=0),
            pitch,
        ]
        if self._spec.vocabulary.uses_ties:
            events.insert(0, Event(type=EventType.TIE, value=0))
        tokens = [*(self._codec.event_to_token(event) for event in events), END_TOKEN]
        return GeneratedSegment(
            tokens=np.array(tokens, np.int32),
            log_probabilities=np.full(len(tokens), math.log(0.5), np.float32),
        )
