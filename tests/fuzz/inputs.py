"""The targets of `tests/fuzz/targets`, each for its share of the time, and what broke them.

Each runs in a process of its own, because a crash of a decoder is one of the things looked for.
"""

import importlib
import pathlib
import re
import subprocess
import sys
import time

from tests.fuzz.report import PartReport
from tests.fuzz.targets.fuzzing import smallest

TARGETS = ("options", "multipart", "audio_structure", "audio_reading")
_RUNS = re.compile(r"Done (\d+) runs|^#(\d+)\s", re.MULTILINE)
_COVERED = re.compile(r"cov: (\d+)")
_MEMORY_MB = 2_000
"""What one input may take: the decoding process has as much (`ReadingLimits`)."""
_INPUT_SECONDS = 20


def fuzz_inputs(folder: pathlib.Path, *, seed: int, seconds: float) -> list[PartReport]:
    """Runs all targets.

    Args:
        folder: For inputs that break them.
        seed: Of libFuzzer.
        seconds: For all together.
    """
    return [
        fuzz_target(name, folder, seed=seed, seconds=seconds / len(TARGETS)) for name in TARGETS
    ]


def fuzz_target(name: str, folder: pathlib.Path, *, seed: int, seconds: float) -> PartReport:
    """Runs one target; what breaks it is in the report, cut down."""
    report = PartReport(name=f"input: {name}")
    began = time.monotonic()
    finished = subprocess.run(
        [
            sys.executable, "-m", f"tests.fuzz.targets.{name}",
            f"-max_total_time={max(int(seconds), 1)}", f"-seed={seed}",
            f"-rss_limit_mb={_MEMORY_MB}", f"-timeout={_INPUT_SECONDS}",
            f"-artifact_prefix={folder}/{name}-",
        ],
        capture_output=True, text=True, errors="replace", timeout=seconds + 120, check=False,
    )  # fmt: skip
    report.seconds = round(time.monotonic() - began, 1)
    output = finished.stdout + finished.stderr
    report.tried = max((int(a or b) for a, b in _RUNS.findall(output)), default=0)
    covered = _COVERED.findall(output)
    report.answers["branches covered"] = int(covered[-1]) if covered else 0
    if finished.returncode or not report.tried:
        report.violations.append(f"{name} ended with {finished.returncode}: {output[-1_500:]}")
        report.violations += [
            _describe(name, path) for path in sorted(folder.glob(f"{name}-*")) if path.is_file()
        ]
    return report


def _describe(name: str, path: pathlib.Path) -> str:
    """The input, as small as it gets where it raises and does not end the process."""
    data = path.read_bytes()
    if path.name.startswith(f"{name}-crash"):
        # A decoder that ends the process ended the run before: only exceptions come back here.
        target = importlib.import_module(f"tests.fuzz.targets.{name}")
        tried = subprocess.run(
            [sys.executable, "-c",
             f"from tests.fuzz.targets import {name} as t; t.check({data!r})" if len(data) < 50_000
             else "raise SystemExit(1)"],
            capture_output=True, check=False,
        )  # fmt: skip
        if tried.returncode == 1 and len(data) < 50_000:
            data = smallest(target.check, data)
    return f"{path.name}: {data[:2_000]!r}"
