"""Measure the latency and throughput of simultaneous callers of the service's engine."""

import asyncio
import dataclasses
import math
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from mt3_model.notes.transcription import Transcription, TranscriptionOptions
from service.benchmark.machine import resident_peak_bytes
from service.benchmark.observing import ObservedBackend, ObservedEngine, first_notes
from service.transcriber import Transcriber


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Percentiles:
    """Percentiles of one figure over callers and rounds; each is a measured value."""

    p50: float
    p90: float
    max: float


def percentiles(values: Sequence[float]) -> Percentiles:
    """Return percentiles by nearest rank: the smallest value that p % of all do not exceed."""
    ordered = sorted(values)

    def rank(percent: int) -> float:
        return ordered[math.ceil(percent * len(ordered) / 100) - 1]

    return Percentiles(p50=rank(50), p90=rank(90), max=ordered[-1])


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class CallersResult:
    """Latency and throughput at one number of simultaneous callers."""

    callers: int
    transcriptions: int
    """Callers times rounds."""
    audio_seconds: float
    """Sum over all transcriptions."""
    wall_seconds: float
    """From the first call to the last result, summed over the rounds."""
    first_notes_seconds: Percentiles
    """From the call until the tokens of the first segment are complete."""
    last_notes_seconds: Percentiles
    """From the call to the complete result."""
    segments: int
    tokens: int
    slot_fill: float
    """Share of the slots in use, 0 to 1, averaged over the device's time."""
    resident_peak_bytes: int
    """Peak memory of the process so far."""

    @property
    def throughput(self) -> float:
        """Seconds of audio transcribed per second."""
        return self.audio_seconds / self.wall_seconds

    @property
    def tokens_per_second(self) -> float:
        """Tokens per second, all callers together."""
        return self.tokens / self.wall_seconds


@dataclasses.dataclass(frozen=True, kw_only=True)
class CallersBench:
    """The service's transcriber on an engine that records when segments finish."""

    transcriber: Transcriber
    engine: ObservedEngine
    backend: ObservedBackend
    recordings: Sequence[Path]
    options: TranscriptionOptions

    async def measure(
        self, callers: int, rounds: int, *, on_segment: Callable[[float], None] | None = None
    ) -> CallersResult:
        """Start ``callers`` transcriptions at the same moment; repeat this ``rounds`` times.

        Args:
            callers: transcriptions at once.
            rounds: repetitions.
            on_segment: called with the seconds of audio of each finished segment.

        Raises:
            AudioError: A recording cannot be used.
            EngineError: The device failed.
        """
        self.backend.reset()
        wall = 0.0
        results: list[Transcription] = []
        first: list[float] = []
        last: list[float] = []
        for _ in range(rounds):
            self.engine.observe(on_segment)
            began = time.perf_counter()
            ended = await asyncio.gather(*(self._transcribe(number) for number in range(callers)))
            wall += time.perf_counter() - began
            results += [result for result, _ in ended]
            last += [at - began for _, at in ended]
            first += [at - began for at in first_notes(self.engine.seen)]
        return CallersResult(
            callers=callers,
            transcriptions=len(results),
            audio_seconds=sum(result.usage.audio_seconds for result in results),
            wall_seconds=wall,
            first_notes_seconds=percentiles(first),
            last_notes_seconds=percentiles(last),
            segments=sum(result.usage.segments for result in results),
            tokens=sum(result.usage.tokens for result in results),
            slot_fill=self.backend.slot_fill,
            resident_peak_bytes=resident_peak_bytes(),
        )

    async def _transcribe(self, number: int) -> tuple[Transcription, float]:
        recording = self.recordings[number % len(self.recordings)]
        result = await self.transcriber.transcribe(recording, self.options)
        return result, time.perf_counter()
