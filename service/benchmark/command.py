"""Run `mt3 benchmark`: load the model, measure, show progress, write the results."""

import contextlib
import sys
import time
from collections.abc import Callable, Generator

from tqdm import tqdm

from mt3_model.audio.recording import ReadingLimits
from service.benchmark.benchmark_report import BenchmarkReport
from service.benchmark.plan import Plan
from service.benchmark.run import run_benchmark
from service.benchmark.serving import Show
from service.benchmark.table import to_table
from service.model_loading import LoadedModel


def run_command(
    load: Callable[[], LoadedModel],
    plan: Plan,
    *,
    limits: ReadingLimits,
    write: Callable[[str], None],
) -> BenchmarkReport:
    """Load the model, measure, write the results as a table, and return them.

    Args:
        load: loads the model.
        plan: what to measure.
        limits: limits on reading recordings.
        write: writes text to standard output.

    Raises:
        MT3Error: the model cannot be loaded, or a recording cannot be read.
        EngineError: the device failed.
    """
    began = time.perf_counter()
    loaded = load()
    load_seconds = time.perf_counter() - began
    with _phases() as show:
        report = run_benchmark(
            loaded,
            plan,
            limits=limits,
            load_seconds=load_seconds,
            announce=lambda text: write(f"{text}\n"),
            show=show,
        )
    write(to_table(report))
    return report


@contextlib.contextmanager
def _phases() -> Generator[Show]:
    """Show a progress bar for each phase on a terminal; nothing in a pipe."""
    bar_format = "{desc} {percentage:3.0f}%|{bar}| [{elapsed}]"
    with tqdm(
        disable=not sys.stderr.isatty(), bar_format=bar_format, total=1.0, leave=False
    ) as bar:

        def show(phase: str, done: float, total: float) -> None:
            bar.set_description_str(phase, refresh=False)
            bar.total = max(total, done)
            bar.n = done
            bar.refresh()

        yield show
