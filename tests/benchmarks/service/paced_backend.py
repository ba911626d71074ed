"""A device of known pace that generates recorded tokens, to measure what the host alone costs.

Work is queued as on an accelerator: a call returns before the device has done it, and `step` waits,
without the interpreter's lock, for the iteration before the one that it launches. The tokens are
those that the published checkpoint generates for two clips (`recorded_tokens.py`), so that
decoding, clean-up and export do a song's usual work.

The default pace is that of one NVIDIA H200 in bfloat16 (28 November 2026): an encode of 64 segments
takes 5.1 ms (of 16 a quarter of it), an insert 1.3 ms, one generation step of 64, 128, 256 and 512
rows 0.48, 0.65, 0.83 and 1.18 ms.
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

    encode_of_one: float = 5.1e-3 / 64
    insert: float = 1.3e-3
    steps: Mapping[int, float] = dataclasses.field(
        default_factory=lambda: {64: 0.48e-3, 128: 0.65e-3, 256: 0.83e-3, 512: 1.18e-3}
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
        self._launched: tuple[float, list[FinishedSlot]] | None = None  # its end, its results
        self._free_at = 0.0

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
        batch = self._shapes.encode_batch_for(len(entries))
        self._queue(batch * self._pace.encode_of_one + self._pace.insert)

    def step(self) -> list[FinishedSlot]:
        """Launch an iteration with as many rows as are taken, and wait for the one before it."""
        launched, self._launched = self._launched, self._launch() if self._running else None
        if launched is None:
            return []
        end, finished = launched
        time.sleep(max(end - time.perf_counter(), 0.0))
        return finished

    def release(self, slots: Collection[int], /) -> None:
        """Free these slots."""
        for slot in slots:
            self._running.pop(slot, None)
        if self._launched is not None:
            end, finished = self._launched
            self._launched = end, [each for each in finished if each.slot not in slots]

    def _launch(self) -> tuple[float, list[FinishedSlot]]:
        rows = self._shapes.rows
        bucket = rows[min(bisect.bisect_left(rows, len(self._running)), len(rows) - 1)]
        self.iterations += 1
        end = self._queue(self._shapes.iteration_steps * self._pace.steps[bucket])
        for running in self._running.values():
            running.tokens_left -= self._shapes.iteration_steps
        ended = [slot for slot, running in self._running.items() if running.tokens_left <= 0]
        return end, [
            FinishedSlot(slot=slot, generated=self._recorded[self._running.pop(slot).index])
            for slot in ended
        ]

    def _queue(self, seconds: float) -> float:
        """Queue work on the device; return when it will be done."""
        self.slept_seconds += seconds
        self._free_at = max(self._free_at, time.perf_counter()) + seconds
        return self._free_at
