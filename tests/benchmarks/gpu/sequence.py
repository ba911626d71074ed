"""Run the stages of the benchmark, the most valuable first, as the time may run out."""

import argparse
import dataclasses
from typing import Any

import jax

from mt3_model.generation.shapes import SlotShapes
from mt3_model.notes.transcription import Precision
from mt3_model.spec import MT3
from tests.benchmarks.gpu.correctness import check_correctness
from tests.benchmarks.gpu.environment import memory_peak
from tests.benchmarks.gpu.material import Clip
from tests.benchmarks.gpu.pools import open_pool
from tests.benchmarks.gpu.report import Deadline, Report
from tests.benchmarks.gpu.roofline import measure_roofline
from tests.benchmarks.gpu.shapes import name_shapes, one_program, parse_shapes_of
from tests.benchmarks.gpu.stages import StageTimer
from tests.benchmarks.gpu.throughput import Music, measure_throughput, run_hour, split_time

TRACED_SECONDS = 60.0
"""Seconds of music under the profiler: a trace of an hour is too large to open."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Work:
    """Inputs of the stages."""

    parameters: dict[str, Any]
    clips: list[Clip]
    """Empty with random weights."""
    song: Music
    """An hour of one dense song, the music of the targets; every shape is measured with it."""
    varied: Music
    """An hour of several bands, whose segments differ more in length; for the best shape."""


def measure(report: Report, work: Work, chosen: argparse.Namespace) -> None:
    """Run every stage that the arguments and the time allow."""
    deadline = report.deadline
    precisions: tuple[Precision, ...] = ("float32", "bfloat16")
    for precision in precisions if work.clips else ():
        checked = report.run(
            f"correctness {precision}",
            lambda precision=precision: check_correctness(
                MT3,
                work.parameters,
                work.clips,
                shapes=one_program(chosen.shapes[0]),
                precision=precision,
                deadline=deadline,
                kernels=chosen.kernels,
            ),
        )
        if checked is not None and precision == "float32":
            report.note("correct", checked["different"] == 0)
    roofline = report.run("roofline", measure_roofline)
    for point in chosen.shapes:
        measured = report.run(
            f"throughput {name_shapes(point)}",
            lambda point=point: measure_throughput(
                MT3, work.parameters, work.song, point, chosen.precision,
                runs=chosen.runs, deadline=deadline, kernels=chosen.kernels,
            ),
        )  # fmt: skip
        best = report.data.get("best")
        if measured and (not best or measured["times_real_time"] > best["times_real_time"]):
            report.note("best", measured)
    best = report.data.get("best")
    if best and roofline:
        _explain(report, best, roofline, chosen)
    if best:
        report.run(
            "throughput of varied music",
            lambda: measure_throughput(
                MT3, work.parameters, work.varied, parse_shapes_of(best), chosen.precision,
                runs=chosen.runs, deadline=deadline, kernels=chosen.kernels,
            ),
        )  # fmt: skip
    if best and chosen.trace:
        shapes_of_best = parse_shapes_of(best)
        report.run("trace", lambda: _trace(work, shapes_of_best, chosen, deadline))
    report.note("memory_peak_bytes", memory_peak())


def _explain(
    report: Report, best: dict[str, Any], roofline: dict[str, Any], chosen: argparse.Namespace
) -> None:
    """Measure the verbs alone at the shapes of the best pass."""
    visited = [tuple(map(int, shape.split("x"))) for shape in best["iterations"]]
    timer = StageTimer(MT3, parse_shapes_of(best), chosen.precision, chosen.kernels)
    verbs = report.run("verbs", lambda: timer.measure(visited, roofline, report.deadline))
    if verbs:
        report.note("time_of_best", split_time(best, verbs))


def _trace(
    work: Work, shapes: SlotShapes, chosen: argparse.Namespace, deadline: Deadline
) -> dict[str, Any]:
    music = dataclasses.replace(
        work.song, segments=work.song.segments[: round(TRACED_SECONDS / MT3.segment_seconds)]
    )
    pool = open_pool(
        MT3, work.parameters, shapes, chosen.precision, music.lengths or None,
        kernels=chosen.kernels,
    )  # fmt: skip
    pool.warm_up()
    run_hour(pool, music, deadline)
    with jax.profiler.trace(str(chosen.trace)):
        seconds, _ = run_hour(pool, music, deadline)
    return {"folder": str(chosen.trace), "seconds": round(seconds, 3)}
