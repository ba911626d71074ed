"""`mt3 benchmark` behind its arguments: measures, shows how far it is, writes the results."""

import contextlib
import sys
import time
from collections.abc import Callable, Generator
from pathlib import Path

from tqdm import tqdm

from mt3_model.audio.recording import ReadingLimits
from mt3_model.errors import OptionError
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
    json_path: Path | None,
    write: Callable[[str], None],
) -> None:
    """Loads the model, measures and reports.

    Args:
        load: Loads the model.
        plan: What to measure.
        limits: Of reading recordings.
        json_path: Where to write the JSON; absent: nowhere.
        write: Takes lines for standard output.

    Raises:
        OptionError: There is no folder for the JSON.
        MT3Error: The model cannot be had, or a recording not read.
        EngineError: The device failed.
    """
    if json_path is not None and (json_path.is_dir() or not json_path.parent.is_dir()):
        # Said now and not after minutes of measuring.
        raise OptionError("json", f"--json is {json_path}; expected a file in a folder there is")
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
    if json_path is not None:
        json_path.write_text(f"{report.to_json()}\n", encoding="utf-8")


@contextlib.contextmanager
def _phases() -> Generator[Show]:
    """A bar on a terminal, for one phase after the other; nothing in a pipe."""
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
