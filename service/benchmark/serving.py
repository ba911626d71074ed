"""The service in this process, without HTTP, and its callers at every concurrency in turn."""

import dataclasses
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from mt3_model.audio.recording import ReadingLimits
from mt3_model.notes.transcription import TranscriptionOptions
from service.benchmark.callers import CallersBench, CallersResult
from service.benchmark.observing import ObservedBackend, ObservedEngine, SeenSegment
from service.benchmark.plan import Plan
from service.model_loading import LoadedModel
from service.transcriber import Transcriber

Show = Callable[[str, float, float], None]
"""Told what is being done, and how much of how much."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class ServingResult:
    """What the callers saw."""

    warm_up_seconds: float
    callers: tuple[CallersResult, ...]
    """By concurrency, in the plan's order."""
    seen: tuple[SeenSegment, ...]
    """All segments of the first recording, from a transcription that was not timed."""


async def measure_serving(
    loaded: LoadedModel,
    plan: Plan,
    *,
    seconds: float,
    recordings: Sequence[Path],
    limits: ReadingLimits,
    show: Show,
) -> ServingResult:
    """Warms up and serves the callers as a server would, but lets in as many as are asked for.

    The first transcription is not timed: it makes the programs and buffers that this material
    needs.

    Args:
        loaded: The model, not yet warm.
        plan: What to measure.
        seconds: Length of each recording.
        recordings: Whose sound the callers send, in turn.
        limits: Of reading them.
        show: Told how far it is.

    Raises:
        AudioError: A recording cannot be read.
        EngineError: The device failed.
    """
    backend = ObservedBackend(loaded.backend)
    most = max(plan.concurrency)
    engine = ObservedEngine(
        backend, loaded.spec, max_waiting_audio_seconds=2 * most * (seconds + 1)
    )
    bench = CallersBench(
        transcriber=Transcriber(
            engine, loaded.spec, loaded.provenance, limits=limits, max_open_recordings=most
        ),
        engine=engine,
        backend=backend,
        recordings=recordings,
        options=TranscriptionOptions(model=loaded.spec.name, decoding=plan.decoding),
    )
    try:
        show("warming up", 0, 1)
        began = time.perf_counter()
        await engine.warm_up()
        warm_up_seconds = time.perf_counter() - began
        await bench.measure(1, 1)
        (seen,) = engine.seen.values()
        results: list[CallersResult] = []
        for callers in plan.concurrency:
            total = callers * plan.rounds * seconds
            engine.watch = _Progress(f"{callers} at once", total, show)
            results.append(await bench.measure(callers, plan.rounds))
    finally:
        await engine.close()
    return ServingResult(warm_up_seconds=warm_up_seconds, callers=tuple(results), seen=tuple(seen))


class _Progress:
    """Adds up seconds of audio."""

    def __init__(self, what: str, total: float, show: Show) -> None:
        self._what, self._total, self._show = what, total, show
        self._done = 0.0
        show(what, 0, total)

    def __call__(self, seconds: float) -> None:
        self._done += seconds
        self._show(self._what, self._done, self._total)
