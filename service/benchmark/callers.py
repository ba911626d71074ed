"""Several callers at once, each with a recording of its own, through the service's engine."""

import asyncio
import dataclasses
import math
import time
from collections.abc import Sequence
from pathlib import Path

from mt3_model.notes.transcription import Transcription, TranscriptionOptions
from service.benchmark.machine import resident_peak_bytes
from service.benchmark.observing import ObservedBackend, ObservedEngine
from service.transcriber import Transcriber


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Percentiles:
    """Of one figure, over callers and rounds; each is a value that was measured."""

    p50: float
    p90: float
    max: float


def percentiles(values: Sequence[float]) -> Percentiles:
    """By nearest rank: the smallest value that at least so many per cent do not exceed."""
    ordered = sorted(values)

    def rank(percent: int) -> float:
        return ordered[math.ceil(percent * len(ordered) / 100) - 1]

    return Percentiles(p50=rank(50), p90=rank(90), max=ordered[-1])


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class CallersResult:
    """What so many callers at once saw."""

    callers: int
    transcriptions: int
    """Callers times rounds."""
    audio_seconds: float
    """Of all transcriptions together."""
    wall_seconds: float
    """From the first call to the last answer, all rounds together."""
    first_notes_seconds: Percentiles
    """From the call until the first segment's notes could be told."""
    last_notes_seconds: Percentiles
    """From the call to the whole answer."""
    segments: int
    tokens: int
    slot_fill: float
    """Share of the slots that was taken, 0 to 1, mean over the device's time."""
    resident_peak_bytes: int
    """The process's peak so far."""

    @property
    def throughput(self) -> float:
        """Audio seconds per second."""
        return self.audio_seconds / self.wall_seconds

    @property
    def tokens_per_second(self) -> float:
        """Of all callers together."""
        return self.tokens / self.wall_seconds


@dataclasses.dataclass(frozen=True, kw_only=True)
class CallersBench:
    """What is measured with: the service's transcriber over an engine that is watched."""

    transcriber: Transcriber
    engine: ObservedEngine
    backend: ObservedBackend
    recordings: Sequence[Path]
    options: TranscriptionOptions

    async def measure(self, callers: int, rounds: int) -> CallersResult:
        """Lets ``callers`` begin at the same moment, ``rounds`` times one after the other.

        Raises:
            AudioError: A recording cannot be used.
            EngineError: The device failed.
        """
        self.backend.begin()
        wall = 0.0
        answers: list[Transcription] = []
        first: list[float] = []
        last: list[float] = []
        for _ in range(rounds):
            self.engine.seen = {}
            began = time.perf_counter()
            ended = await asyncio.gather(*(self._call(number) for number in range(callers)))
            wall += time.perf_counter() - began
            answers += [answer for answer, _ in ended]
            last += [at - began for _, at in ended]
            first += [at - began for at in self.engine.first_notes()]
        return CallersResult(
            callers=callers,
            transcriptions=len(answers),
            audio_seconds=sum(answer.usage.audio_seconds for answer in answers),
            wall_seconds=wall,
            first_notes_seconds=percentiles(first),
            last_notes_seconds=percentiles(last),
            segments=sum(answer.usage.segments for answer in answers),
            tokens=sum(answer.usage.tokens for answer in answers),
            slot_fill=self.backend.slot_fill,
            resident_peak_bytes=resident_peak_bytes(),
        )

    async def _call(self, number: int) -> tuple[Transcription, float]:
        recording = self.recordings[number % len(self.recordings)]
        answer = await self.transcriber.transcribe(recording, self.options)
        return answer, time.perf_counter()
