"""Check that this device computes correctly, and measure how fast it is.

    python -m tests.benchmarks.gpu.run [--material DIR] [--store DIR] [--json OUT]
    python -m tests.benchmarks.gpu.run --random-weights

Needs JAX, Flax, NumPy, jaxtyping, safetensors, TensorStore and ml_dtypes; no network and no audio
library. Correctness first (float32 with exact products, then bfloat16), then the roofline, an hour
of dense music over some shapes, and the verbs alone for the best of them. The JSON is written after
every stage. Exits with 1 if a stage failed or float32 is wrong, with 3 while parts are missing.
"""

import argparse
import contextlib
import datetime
import itertools
import json
import pathlib
import sys
import tempfile
from collections.abc import Sequence

import jax

from mt3_model.spec import MT3
from tests.benchmarks.gpu.environment import describe_environment
from tests.benchmarks.gpu.material import read_clips, read_manifest, read_parameters
from tests.benchmarks.gpu.pools import random_parameters
from tests.benchmarks.gpu.report import Deadline, Report
from tests.benchmarks.gpu.sequence import Work, measure
from tests.benchmarks.gpu.shapes import SWEEP_ACCELERATOR, SWEEP_CPU, parse_shapes
from tests.benchmarks.gpu.store import NoMaterialError, keep_material
from tests.benchmarks.gpu.table import format_report
from tests.benchmarks.gpu.throughput import tile_clips, tile_noise

LENGTHS_FILE = pathlib.Path(__file__).with_name("recorded_lengths.json")
EXIT_WRONG, EXIT_INCOMPLETE = 1, 3


def main(arguments: Sequence[str] | None = None) -> int:
    chosen = _parse(arguments)
    label = {"weights": "random weights, recorded lengths"}
    if chosen.random_weights:
        _store_material(chosen)
        recorded = list(json.loads(LENGTHS_FILE.read_text())["recordings"].values())
        work = Work(
            parameters=random_parameters(MT3),
            clips=[],
            song=tile_noise(recorded[0], MT3, chosen.seconds),
            varied=tile_noise(list(itertools.chain(*recorded)), MT3, chosen.seconds),
        )
    else:
        stock = keep_material(chosen.material, chosen.store)
        if stock.missing:
            print(f"stored in {stock.folder}; still missing: {', '.join(stock.missing)}")
            return EXIT_INCOMPLETE
        clips = read_clips(stock.folder)
        dense = [clip for clip in clips if clip.dense]
        work = Work(
            parameters=read_parameters(stock.folder),
            clips=[clip for clip in clips if clip.name in (chosen.clips or {clip.name})],
            song=tile_clips(dense[:1], MT3, chosen.seconds),
            varied=tile_clips(dense, MT3, chosen.seconds),
        )
        origin = read_manifest(stock.folder)["origin"]
        label = {"weights": "published weights, rounded to bfloat16", "material": origin}
    head = {
        "benchmark": "tests.benchmarks.gpu",
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        **label,
        "environment": describe_environment(),
    }
    report = Report(chosen.json, head, Deadline(chosen.time_limit))
    with contextlib.ExitStack() as stack:
        # Several pools of one run use the same programs.
        folder = chosen.store or stack.enter_context(tempfile.TemporaryDirectory())
        jax.config.update("jax_compilation_cache_dir", str(pathlib.Path(folder) / "compiled"))
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.2)
        measure(report, work, chosen)
    print(format_report(report.data))
    return EXIT_WRONG if report.data["failed"] or report.data.get("correct") is False else 0


def _store_material(chosen: argparse.Namespace) -> None:
    """Store the files that this call brought, for a later call with the published weights."""
    if chosen.store is None:
        return
    try:
        stock = keep_material(chosen.material, chosen.store)
    except NoMaterialError as error:
        print(f"nothing to store: {error}")
    else:
        print(f"stored in {stock.folder}; still missing: {', '.join(stock.missing) or 'nothing'}")


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--material", type=pathlib.Path, default=pathlib.Path(".gpu_material"))
    parser.add_argument("--store", type=pathlib.Path, help="keeps material and compiled programs")
    parser.add_argument("--json", type=pathlib.Path, default=pathlib.Path("gpu.json"))
    parser.add_argument("--random-weights", action="store_true")
    parser.add_argument("--seconds", type=float, default=3_600.0, help="of music")
    parser.add_argument("--clips", nargs="+", help="check only these; by default all")
    parser.add_argument(
        "--shapes", nargs="+", type=parse_shapes, metavar="ROWS[/ROWS]xENCODExSTEPS[xCOLUMNS]"
    )
    parser.add_argument("--precision", choices=("float32", "bfloat16"), default="bfloat16")
    parser.add_argument(
        "--kernels", choices=("auto", "xla"), default="auto", help="auto: what the product uses"
    )
    parser.add_argument("--runs", type=int, default=3, help="measured passes of each shape")
    parser.add_argument("--time-limit", type=float, default=540.0, help="seconds of the whole run")
    parser.add_argument("--trace", type=pathlib.Path, help="writes a profile there")
    chosen = parser.parse_args(arguments)
    if chosen.shapes is None:
        sweep = SWEEP_CPU if jax.default_backend() == "cpu" else SWEEP_ACCELERATOR
        chosen.shapes = [parse_shapes(text) for text in sweep]
    return chosen


if __name__ == "__main__":
    sys.exit(main())
