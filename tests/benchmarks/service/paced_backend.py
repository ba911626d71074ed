"""A device of known pace that generates recorded tokens, to measure what the host alone costs.

Each call sleeps, without the interpreter's lock, as long as the call takes on an accelerator. The
tokens are those that the published checkpoint generates for two clips (`recorded_tokens.py`), so
that decoding, clean-up and export do a song's usual work.

The default pace is that of one NVIDIA H200 in bfloat16, measured by `tests/benchmarks/gpu` on
27 November 2026: an encode of 64 segments 5.1 ms, an insert 1.3 ms, one generation step of 64, 256
and 512 rows 0.49, 0.86 and 1.29 ms. The step of 128 rows is 1.4 times that of 64, as in the
service's iterations on another H200 (14.4 and 10.4 ms for 16 steps).
"""

import bisect
import dataclasses
import time
from collections.abc import Collection, Mapping, Sequence

from mt3_model.generation.shapes import SlotShapes
from mt3_model.notes.generated import FinishedSlot, GeneratedSegment, SlotEntry


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Pace:
    """Seconds that each part of an iteration takes."""

    encode: float = 5.1e-3
    insert: float = 1.3e-3
    steps: Mapping[int, float] = dataclasses.field(
        default_factory=lambda: {64: 0.49e-3, 128: 0.69e-3, 256: 0.86e-3, 512: 1.29e-3}
    )
    """One generation step, by rows."""


@dataclasses.dataclass(kw_only=True, slots=True)
class _Running:
    index: int
    tokens_left: int


class PacedBackend:
    """Slots that finish when their recorded tokens would have been generated."""

    def __init__(
        self, recorded: Sequence[GeneratedSegment], shapes: SlotShapes, pace: Pace
    ) -> None:
        """Start with all slots free.

        Args:
            recorded: segment ``i`` of any recording gets the tokens of ``i % len(recorded)``.
            shapes: the rows of ``pace.steps``, segments of an encode and steps of an iteration.
            pace: the device's pace.
        """
        assert set(shapes.rows) <= set(pace.steps), "every bucket of rows has a pace"
        self.slots = shapes.rows[-1]
        self.encode_batch = shapes.encode_batch
        self.iterations = 0
        self.inserts = 0
        self.slept_seconds = 0.0
        """Time that the device itself took."""
        self._recorded = recorded
        self._shapes = shapes
        self._pace = pace
        self._running: dict[int, _Running] = {}

    def warm_up(self) -> None:
        """Do nothing: there is nothing to compile."""

    def insert(self, entries: Sequence[SlotEntry], /) -> None:
        """Take the time of an encode, and start the segments."""
        for entry in entries:
            index = entry.segment.index % len(self._recorded)
            self._running[entry.slot] = _Running(
                index=index, tokens_left=len(self._recorded[index].tokens)
            )
        self.inserts += 1
        self._sleep(self._pace.encode + self._pace.insert)

    def step(self) -> list[FinishedSlot]:
        """Take the time of an iteration with as many rows as are taken."""
        rows = self._shapes.rows
        bucket = rows[min(bisect.bisect_left(rows, len(self._running)), len(rows) - 1)]
        self.iterations += 1
        self._sleep(self._shapes.iteration_steps * self._pace.steps[bucket])
        for running in self._running.values():
            running.tokens_left -= self._shapes.iteration_steps
        ended = [slot for slot, running in self._running.items() if running.tokens_left <= 0]
        return [
            FinishedSlot(slot=slot, generated=self._recorded[self._running.pop(slot).index])
            for slot in ended
        ]

    def release(self, slots: Collection[int], /) -> None:
        """Free these slots."""
        for slot in slots:
            self._running.pop(slot, None)

    def _sleep(self, seconds: float) -> None:
        self.slept_seconds += seconds
        time.sleep(seconds)
