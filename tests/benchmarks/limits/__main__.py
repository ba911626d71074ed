"""Print how much of this machine's limits encode and generate reach.

python -m tests.benchmarks.limits [--precision float32]
"""

import argparse
import tempfile
from pathlib import Path

from mt3_model.audio.recording import ReadingLimits
from mt3_model.transcribe import load_transcriber
from service.benchmark import stages
from service.benchmark.material import write_material
from tests.benchmarks.limits.sharing import measure_limits, share_stages

SECONDS = 10.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--precision", default="auto", choices=("auto", "float32", "bfloat16"))
    transcriber = load_transcriber(precision=parser.parse_args().precision)
    pool, spec = transcriber.backend, transcriber.spec
    pool.warm_up()
    with tempfile.TemporaryDirectory() as folder:
        (recording,) = write_material((), SECONDS, Path(folder), ReadingLimits())
        segments = stages.read_segments(recording, spec, pool.slots)
    steps = pool.shapes.iteration_steps
    measured, tokens_each = stages.measure_device(
        pool, segments, iteration_steps=steps, units=(len(segments), 1_000)
    )
    for share in share_stages(pool, measure_limits(pool), measured, tokens_each):
        name, each = share.stage.name, 1e3 * share.stage.unit_seconds
        print(f"{name}: {each:.2f} ms each, {share.limit_share:.0%} of the limit ({share.bound})")


if __name__ == "__main__":
    main()
