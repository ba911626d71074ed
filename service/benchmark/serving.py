"""Run the service in this process, without HTTP, with each number of callers in turn."""

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
from service.recording_opener import RecordingOpener
from service.transcriber import Transcriber

Show = Callable[[str, float, float], None]
"""Receives the progress: name of the phase, amount done, total amount."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class ServingResult:
    """Results of the callers at every concurrency."""

    warm_up_seconds: float
    callers: tuple[CallersResult, ...]
    """One result for each concurrency, in the plan's order."""
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
    """Warm up and serve the callers like a server, but without its limit of open recordings.

    The first transcription is not timed: it compiles the programs and allocates the buffers for
    these recordings.

    Args:
        loaded: the model, before warm-up.
        plan: what to measure.
        seconds: length of each recording.
        recordings: audio files that the callers send, in turn.
        limits: limits on reading recordings.
        show: receives the progress.

    Raises:
        AudioError: a recording cannot be read.
        EngineError: the device failed.
    """
    backend = ObservedBackend(loaded.backend)
    most = max(plan.concurrency)
    engine = ObservedEngine(
        backend, loaded.spec, max_waiting_audio_seconds=2 * most * (seconds + 1)
    )
    bench = CallersBench(
        transcriber=Transcriber(
            engine,
            RecordingOpener(engine, limits=limits, max_open_recordings=most),
            loaded.provenance,
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
            progress = _Progress(f"{callers} at once", total, show)
            results.append(await bench.measure(callers, plan.rounds, on_segment=progress))
    finally:
        await engine.close()
    return ServingResult(warm_up_seconds=warm_up_seconds, callers=tuple(results), seen=tuple(seen))


class _Progress:
    """Add up seconds of finished audio and show their sum."""

    def __init__(self, phase: str, total: float, show: Show) -> None:
        self._phase, self._total, self._show = phase, total, show
        self._done = 0.0
        show(phase, 0, total)

    def __call__(self, seconds: float) -> None:
        self._done += seconds
        self._show(self._phase, self._done, self._total)
