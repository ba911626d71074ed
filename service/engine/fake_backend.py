"""A backend with results that can be worked out by hand, for tests and for `MT3_BACKEND=fake`.

The result depends only on the segment's index. Segment i yields these events:

    tie; velocity on, program 0 (piano), pitch 60 + i % 12 at the segment's start;
    drum 36 (bass drum) at +0.5 s; the piano's pitch off at +1 s; end.

So three seconds of audio, two segments at 0 s and 2.04 s (2.048 rounded down to a step), give::

    piano C4   0.00 - 1.00        drum 36   0.50 - 0.51
    piano C#4  2.04 - 3.04        drum 36   2.54 - 2.55

Every token has probability 1/2. A segment with forbidden tokens has the lowest program that is not
forbidden in place of the piano, and none of the other forbidden tokens.

A segment takes ``1 + i % 3`` steps, whatever else is in the slots. Five segments of one recording
over two slots, one inserted per iteration (``encode_batch=1``): which segment is where, and ends::

    step      1  2  3  4  5  6
    slot 0    0  1  1  3  4  4
    slot 1    -  -  2  2  2  -
    ends      0  -  1  3  2  4

A step takes no time, or ``iteration_seconds``, which gives a load test a device of known capacity:
with R slots about ``2.048 R / (2 iteration_seconds)`` seconds of audio per second, since a segment
of 2.048 s takes two steps on average.
"""

import dataclasses
import math
import time
from collections.abc import Collection, Sequence

import numpy as np

from mt3_model.codec.event import Event, EventType
from mt3_model.codec.vocabulary import END_TOKEN, MIDI_MAX, build_codec
from mt3_model.notes.generated import FinishedSlot, ForbiddenTokens, GeneratedSegment, SlotEntry
from mt3_model.spec import ModelSpec

_HALF_SECOND_STEPS = 50
_BASS_DRUM = 36
_MIDDLE_C = 60
_SEMITONES = 12
_MAX_STEPS = 3


@dataclasses.dataclass(kw_only=True, slots=True)
class _LiveSlot:
    index: int
    steps_left: int
    forbidden: ForbiddenTokens | None


class FakeBackend:
    """Generates a fixed pattern after a few steps, without a device."""

    def __init__(
        self,
        spec: ModelSpec,
        *,
        slots: int = 4,
        encode_batch: int = 2,
        iteration_seconds: float = 0.0,
    ) -> None:
        """Start with all slots free.

        Args:
            spec: the model, for its vocabulary.
            slots: number of slots R.
            encode_batch: maximum number of segments of one insert.
            iteration_seconds: time that each `step` sleeps.
        """
        self.slots = slots
        self.encode_batch = min(encode_batch, slots)
        self._iteration_seconds = iteration_seconds
        self._spec = spec
        self._codec = build_codec(spec.vocabulary)
        self._live: dict[int, _LiveSlot] = {}

    def warm_up(self) -> None:
        """Do nothing: there is nothing to compile."""

    def insert(self, entries: Sequence[SlotEntry], /) -> None:
        """Start each segment in its slot, whatever the decoding."""
        assert 0 < len(entries) <= self.encode_batch, "an insert has 1 to encode_batch entries"
        for entry in entries:
            assert 0 <= entry.slot < self.slots, f"there is no slot {entry.slot}"
            assert entry.slot not in self._live, f"slot {entry.slot} is not free"
            index = entry.segment.index
            self._live[entry.slot] = _LiveSlot(
                index=index, steps_left=1 + index % _MAX_STEPS, forbidden=entry.forbidden
            )

    def step(self) -> list[FinishedSlot]:
        """Count one step for every live slot."""
        if self._iteration_seconds > 0:
            time.sleep(self._iteration_seconds)
        for live in self._live.values():
            live.steps_left -= 1
        ended = [slot for slot, live in self._live.items() if live.steps_left == 0]
        finished: list[FinishedSlot] = []
        for slot in ended:
            live = self._live.pop(slot)
            generated = self.generate(live.index)
            if live.forbidden is not None:
                generated = self._replace_forbidden(generated, live.forbidden)
            finished.append(FinishedSlot(slot=slot, generated=generated))
        return finished

    def release(self, slots: Collection[int], /) -> None:
        """Free these slots."""
        for slot in slots:
            self._live.pop(slot, None)

    def generate(self, index: int) -> GeneratedSegment:
        """Return the pattern of the module's docstring for segment ``index``."""
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

    def _replace_forbidden(
        self, generated: GeneratedSegment, forbidden: ForbiddenTokens
    ) -> GeneratedSegment:
        """Replace forbidden programs by the lowest that is allowed; drop other forbidden tokens."""
        first = self._codec.event_to_token(Event(type=EventType.PROGRAM, value=0))
        programs = np.arange(first, first + MIDI_MAX + 1)
        allowed = programs[~forbidden[programs]]
        tokens = generated.tokens
        if allowed.size:
            replaced = np.isin(tokens, programs) & forbidden[tokens]
            tokens = np.where(replaced, allowed[0], tokens).astype(np.int32)
        kept = ~forbidden[tokens]
        return GeneratedSegment(
            tokens=tokens[kept], log_probabilities=generated.log_probabilities[kept]
        )
