"""Run the whole benchmark: callers at every concurrency, then the stages.

Callers come first, because the process must then be in the state of a freshly started server.
"""

import asyncio
import datetime
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, cast

from mt3_model.audio.recording import ReadingLimits
from service.benchmark import stages
from service.benchmark.benchmark_report import BenchmarkReport, MemoryFigures, Setting, Stage
from service.benchmark.machine import (
    Machine,
    describe_machine,
    device_peak_bytes,
    resident_peak_bytes,
    versions,
)
from service.benchmark.material import SYNTHETIC, write_material
from service.benchmark.observing import SeenSegment
from service.benchmark.plan import Plan
from service.benchmark.serving import Show, measure_serving
from service.benchmark.table import describe
from service.engine.fake_backend import FakeBackend
from service.model_loading import LoadedModel

if TYPE_CHECKING:
    # For the type checker only: it imports JAX, which the fake backend does not need.
    from mt3_model.generation.slots import SlotPool


def run_benchmark(
    loaded: LoadedModel,
    plan: Plan,
    *,
    limits: ReadingLimits,
    load_seconds: float,
    announce: Callable[[str], None],
    show: Show,
) -> BenchmarkReport:
    """Measure everything in the plan.

    Args:
        loaded: the model, before warm-up.
        plan: what to measure.
        limits: limits on reading recordings.
        load_seconds: time that loading the model took.
        announce: receives a description of the measurement before it starts.
        show: receives the progress.

    Raises:
        AudioError: a recording cannot be read.
        EngineError: the device failed.
    """
    date = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    pool = _pool_of(loaded)
    machine = describe_machine(with_device=pool is not None)
    setting = _describe_setting(loaded, plan, machine)
    announce(describe(setting, loaded.provenance, machine, plan.concurrency))
    with tempfile.TemporaryDirectory(prefix="mt3-benchmark-") as folder:
        show("preparing", 0, 1)
        material = write_material(plan.recordings, setting.seconds, Path(folder), limits)
        served = asyncio.run(
            measure_serving(
                loaded,
                plan,
                seconds=setting.seconds,
                recordings=material,
                limits=limits,
                show=show,
            )
        )
        show("stages", 0, 1)
        measured = _measure_stages(loaded, pool, material[0], served.seen)
    return BenchmarkReport(
        date=date,
        model=loaded.provenance,
        setting=setting,
        machine=machine,
        versions=versions(),
        load_seconds=load_seconds,
        warm_up_seconds=served.warm_up_seconds,
        callers=served.callers,
        stages=tuple(measured),
        memory=MemoryFigures(
            resident_peak_bytes=resident_peak_bytes(),
            device_peak_bytes=None if pool is None else device_peak_bytes(),
        ),
    )


def _pool_of(loaded: LoadedModel) -> "SlotPool | None":
    """Return the pool of slots on a device; None for the fake backend."""
    if isinstance(loaded.backend, FakeBackend):
        return None
    return cast("SlotPool", loaded.backend)


def _describe_setting(loaded: LoadedModel, plan: Plan, machine: Machine) -> Setting:
    return Setting(
        recordings=tuple(path.name for path in plan.recordings) or (SYNTHETIC,),
        seconds=plan.seconds_on(machine.platform),
        rounds=plan.rounds,
        decoding=plan.decoding,
        slots=loaded.backend.slots,
        encode_batch=loaded.backend.encode_batch,
    )


def _measure_stages(
    loaded: LoadedModel,
    pool: "SlotPool | None",
    recording: Path,
    seen: Sequence[SeenSegment],
) -> list[Stage]:
    """Measure each stage alone, in pipeline order."""
    spec = loaded.spec
    reading = stages.measure_decode(recording, spec)
    writing = stages.measure_notes_and_export(seen, spec, loaded.provenance)
    if pool is None:
        return [reading, *writing]
    units = (len(seen), sum(len(each.generated.tokens) for each in seen))
    segments = stages.read_segments(recording, spec, pool.slots)
    mel = stages.measure_mel(segments, spec, pool.encode_batch, units[0])
    device, _ = stages.measure_device(
        pool, segments, iteration_steps=pool.shapes.iteration_steps, units=units
    )
    return [reading, mel, *device, *writing]
